package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/term"
)

// A Terminal is one of a program's own, behind the terminal of this process: what is typed
// there goes to the program, keys such as Ctrl-C included, and what the program writes comes
// back. The program has no way to the terminal of this process itself.
type Terminal struct {
	File *os.File // the side of the program

	here    *os.File // the terminal of this process
	before  *term.State
	other   *os.File // what is behind File
	resized chan os.Signal
	shown   chan struct{} // closed when all has been shown
}

// OpenTerminal gives a program a terminal of its own behind in and out, until it is closed.
func OpenTerminal(in, out *os.File) (*Terminal, error) {
	other, file, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("cannot make a terminal: %w", err)
	}
	t := &Terminal{File: file, here: in, other: other, resized: make(chan os.Signal, 1), shown: make(chan struct{})}
	if t.before, err = term.MakeRaw(int(in.Fd())); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot use the terminal: %w", err), file.Close(), other.Close())
	}
	signal.Notify(t.resized, syscall.SIGWINCH)
	t.resized <- syscall.SIGWINCH // its size from the beginning
	go func() {
		for range t.resized {
			pty.InheritSize(in, other) // a terminal that tells no size has none to pass on
		}
	}()
	go io.Copy(other, in) // nobody can end it, but with the process
	go func() {
		io.Copy(out, other) // until no program has File any more
		close(t.shown)
	}()
	return t, nil
}

// Close shows the last that was written, once no program has the terminal any more, and
// gives this process's terminal back.
func (t *Terminal) Close() error {
	err := t.File.Close()
	<-t.shown
	signal.Stop(t.resized)
	close(t.resized)
	return errors.Join(err, t.other.Close(), term.Restore(int(t.here.Fd()), t.before))
}

// IsTerminal tells whether a file is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
