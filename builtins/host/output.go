package host

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"time"
)

// What programs write, on its way to whoever wants it. Package os/exec can copy it as well,
// but gives the reader only so long after the program has ended, or the program's children
// for ever.

// An outlet is a pipe out of a program. What the program has written arrives, however long
// the reader takes for it. What it has left running may hold the pipe open and is waited for
// as long as it goes on to write.
type outlet struct {
	r, w  *os.File
	idle  time.Duration // how long nothing may come once the program has ended
	ended atomic.Bool   // the program
	cut   atomic.Bool   // what comes is not wanted for much longer
	done  chan error
}

// openOutlet starts to copy to a writer.
func openOutlet(to io.Writer, idle time.Duration) (*outlet, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o := &outlet{r: r, w: w, idle: idle, done: make(chan error, 1)}
	go func() {
		_, err := io.Copy(to, o)
		r.Close() // where nobody reads, the program is to end
		o.done <- err
	}()
	return o, nil
}

// Read is what is copied from.
func (o *outlet) Read(p []byte) (int, error) {
	if o.ended.Load() && !o.cut.Load() {
		o.soon()
	}
	n, err := o.r.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = io.EOF
	}
	return n, err
}

func (o *outlet) soon() { o.r.SetReadDeadline(time.Now().Add(o.idle)) }

// finish waits for the last that comes from an ended program, less patiently when ctx ends.
func (o *outlet) finish(ctx context.Context) error {
	o.ended.Store(true)
	o.soon()
	stop := context.AfterFunc(ctx, func() {
		o.cut.Store(true)
		o.soon()
	})
	defer stop()
	return <-o.done
}

// outlets are those of one program.
type outlets []*outlet

// connect gives the streams of a program to writers. One pipe for both, where they have the
// same, keeps the order of lines.
func (c Command) connect(cmd *exec.Cmd, tail *Tail) (outlets, error) {
	out, err := openOutlet(tee(c.Stdout, tail), cmd.WaitDelay)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = out.w, out.w
	if c.Stderr == c.Stdout {
		return outlets{out}, nil
	}
	other, err := openOutlet(tee(c.Stderr, tail), cmd.WaitDelay)
	if err != nil {
		return nil, errors.Join(err, outlets{out}.started(), out.finish(context.Background()))
	}
	cmd.Stderr = other.w
	return outlets{out, other}, nil
}

// started closes the ends of the pipes that the program has of its own now, or never will.
func (all outlets) started() error {
	var errs []error
	for _, o := range all {
		errs = append(errs, o.w.Close())
	}
	return errors.Join(errs...)
}

// finish waits for the last of an ended program.
func (all outlets) finish(ctx context.Context) error {
	var errs []error
	for _, o := range all {
		errs = append(errs, o.finish(ctx))
	}
	return errors.Join(errs...)
}

func tee(w io.Writer, tail *Tail) io.Writer {
	if w == nil {
		return tail
	}
	return io.MultiWriter(w, tail)
}
