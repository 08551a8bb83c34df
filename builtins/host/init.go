package host

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// What the first process of a PID namespace owes its programs. It runs in the child of a
// sandbox alone.

// Init runs programs as the first process of a PID namespace should: it reaps
// whatever orphans they leave and passes a SIGTERM it gets on to all of them.
type Init struct {
	Grace time.Duration // from SIGTERM to SIGKILL

	ended   atomic.Bool // SIGTERM has come
	signals chan os.Signal
}

// NewInit starts to listen for SIGTERM. It must be called in process 1 of a PID
// namespace: everything but the caller is ended by it.
func NewInit(grace time.Duration) *Init {
	in := &Init{Grace: grace, signals: make(chan os.Signal, 1)}
	signal.Notify(in.signals, syscall.SIGTERM)
	go func() {
		<-in.signals
		in.end()
	}()
	return in
}

func (in *Init) end() {
	in.ended.Store(true)
	syscall.Kill(-1, syscall.SIGTERM)
	time.AfterFunc(in.Grace, func() { syscall.Kill(-1, syscall.SIGKILL) })
}

// Run starts the program at path and waits for it, and only for it: what it leaves
// running goes on. The error of a program that ran and failed is an *ExitError
// without output.
func (in *Init) Run(path string, args []string, attr *os.ProcAttr) error {
	if in.ended.Load() {
		return errors.New("ended before it started")
	}
	proc, err := Start(path, args, attr)
	if err != nil {
		return err
	}
	defer proc.Release()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return fmt.Errorf("cannot wait for %s: %w", args[0], err)
		case pid == proc.Pid && status.Exited() && status.ExitStatus() == 0:
			return nil
		case pid == proc.Pid && status.Exited():
			return &ExitError{Args: args, Err: fmt.Errorf("exit status %d", status.ExitStatus()), Code: statusCode(status)}
		case pid == proc.Pid && status.Signaled():
			return &ExitError{Args: args, Err: fmt.Errorf("signal: %v", status.Signal()), Code: statusCode(status)}
		}
	}
}

// Start starts a program that the caller ends, or that ends by itself: Run waits for whatever
// has ended.
func Start(path string, args []string, attr *os.ProcAttr) (*os.Process, error) {
	proc, err := os.StartProcess(path, args, attr)
	if err != nil {
		return nil, fmt.Errorf("cannot run %s: %w", args[0], startError(err))
	}
	return proc, nil
}

// KillAll ends every other process of the namespace and waits until none is left,
// so that nothing holds on to its mounts.
func (in *Init) KillAll() {
	syscall.Kill(-1, syscall.SIGKILL)
	for {
		if _, err := syscall.Wait4(-1, nil, 0, nil); err != nil && err != syscall.EINTR {
			return
		}
	}
}
