// Package host is this machine as builds use it: the only package that starts processes,
// the clock that what is made is dated by, and the programs that parts of the work are left
// to. What a program does to an image is its callers' business; what it may see and touch
// there is that of package sandbox, which starts its child through here.
package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DefaultGrace is how long a program may take to end after SIGTERM.
const DefaultGrace = 5 * time.Second

// tailLines is how much of a failed program's output its error repeats.
const tailLines = 20

// Command is one program to run. The zero value of every field but Args has a
// meaning. What the caller's environment says besides [Environ] never reaches a program: options
// of compressors there, for example, would change what they write.
type Command struct {
	Args   []string             // program, looked up in PATH, and its arguments
	Path   string               // file to execute in place of Args[0], if not empty
	Dir    string               // working directory
	Env    []string             // environment; nil: that of Environ
	Stdin  io.Reader            // nil: /dev/null
	Stdout io.Writer            // gets standard output as it comes
	Stderr io.Writer            // gets standard error as it comes; may equal Stdout
	Files  []*os.File           // inherited from descriptor 3 on
	Attr   *syscall.SysProcAttr // namespaces and the like; the parent-death signal is always set
	Grace  time.Duration        // from SIGTERM to SIGKILL on cancellation; 0: DefaultGrace
}

// An ExitError says how a program failed and what it said last.
type ExitError struct {
	Args   []string // nil: Err says what has failed
	Err    error    // "exit status 1", "signal: killed"
	Code   int      // the exit status as a shell has it: 128 and the number of a signal
	Output string   // the last lines of both streams
	Log    string   // file with the whole output, if one was kept
}

func (e *ExitError) Error() string {
	if len(e.Args) == 0 {
		return e.Err.Error()
	}
	return Quote(e.Args) + ": " + e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// Run starts the program and waits for it. When ctx ends the program gets
// SIGTERM, a grace period and SIGKILL, and Run returns the context's cause.
// The program dies with the tool, however the tool dies.
func (c Command) Run(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	tail := new(Tail)
	cmd := c.build(ctx)
	out, err := c.connect(cmd, tail)
	if err != nil {
		return fmt.Errorf("cannot run %s: %w", c.Args[0], err)
	}
	err = runLocked(cmd, out)
	if last := out.finish(ctx); err == nil {
		err = last
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err == nil {
		return nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &ExitError{Args: c.Args, Err: err, Code: statusCode(exit.Sys().(syscall.WaitStatus)), Output: tail.String()}
	}
	return fmt.Errorf("cannot run %s: %w", c.Args[0], startError(err))
}

// statusCode is how a shell says how a program has ended.
func statusCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

func (c Command) build(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	if c.Path != "" {
		cmd.Path, cmd.Err = c.Path, nil
	}
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.ExtraFiles = c.Dir, c.Env, c.Stdin, c.Files
	if c.Env == nil {
		cmd.Env = Environ(nil)
	}
	attr := syscall.SysProcAttr{}
	if c.Attr != nil {
		attr = *c.Attr
	}
	attr.Pdeathsig = syscall.SIGKILL
	// Ctrl-C on a terminal reaches the whole foreground group: in a session of its
	// own the program is ended by us alone, in order, and cannot ask at the terminal.
	attr.Setsid = true
	cmd.SysProcAttr = &attr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = c.Grace
	if c.Grace == 0 {
		cmd.WaitDelay = DefaultGrace
	}
	return cmd
}

// runLocked runs cmd on a thread of its own: the parent-death signal is tied to
// the thread that started the program, which therefore has to outlive it.
func runLocked(cmd *exec.Cmd, out outlets) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := errors.Join(cmd.Start(), out.started())
		if err == nil {
			err = cmd.Wait()
		}
		if err == exec.ErrWaitDelay { // it has ended well without the rest of its input
			err = nil
		}
		done <- err
	}()
	return <-done
}

// startError strips the name of the program, which the caller says itself.
func startError(err error) error {
	var lookup *exec.Error
	if errors.As(err, &lookup) {
		return lookup.Err
	}
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// Quote prints a command line as a shell would take it.
func Quote(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = quoteWord(a)
	}
	return strings.Join(quoted, " ")
}

func quoteWord(s string) string {
	special := func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("_-+=./:,@%^", r))
	}
	if s != "" && strings.IndexFunc(s, special) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Lines is a writer that tells of each line that is written to it. A carriage return ends one,
// too: programs show progress that way.
type Lines struct {
	Each func(line string)

	mu   sync.Mutex
	part []byte
}

func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := p
	for {
		i := bytes.IndexAny(rest, "\r\n")
		if i < 0 {
			l.part = append(l.part, rest[:min(len(rest), max(0, maxLine-len(l.part)))]...)
			return len(p), nil
		}
		l.part = append(l.part, rest[:min(i, max(0, maxLine-len(l.part)))]...)
		l.tell()
		rest = rest[i+1:]
	}
}

// Flush tells of a last line without an end.
func (l *Lines) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell()
}

func (l *Lines) tell() {
	if len(l.part) > 0 {
		l.Each(string(l.part))
	}
	l.part = l.part[:0]
}

// A Tail is a writer that remembers the last lines written to it.
type Tail struct {
	mu    sync.Mutex
	lines []string
	part  []byte
}

// maxLine bounds what is kept of a line, since a progress bar may never end one.
const maxLine = 1000

func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			t.part = append(t.part, rest[:min(len(rest), max(0, maxLine-len(t.part)))]...)
			break
		}
		t.part = append(t.part, rest[:min(i, max(0, maxLine-len(t.part)))]...)
		t.push()
		rest = rest[i+1:]
	}
	return len(p), nil
}

func (t *Tail) push() {
	t.lines = append(t.lines, string(t.part))
	t.part = t.part[:0]
	if len(t.lines) > tailLines {
		t.lines = t.lines[len(t.lines)-tailLines:]
	}
}

// String returns the last lines without a final newline.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.lines
	if len(t.part) > 0 {
		lines = append(lines[:len(lines):len(lines)], string(t.part))
	}
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}
