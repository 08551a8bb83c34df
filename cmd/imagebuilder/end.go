package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/printable"
)

// How a run ends that is not allowed to end by itself: signals, time limits, and what
// happens where neither is heard.

// endGrace is how long a run may take to end in order once it is to: longer than the
// programs in the sandbox have for it.
const endGrace = 2 * host.DefaultGrace

// An ending is how the process ends where the work cannot be waited for. The context of
// commands carries it.
type ending struct {
	codes chan<- int   // ends the process at once, with an exit code
	more  atomic.Int64 // what a server adds to endGrace for the requests under way

	signals <-chan os.Signal
	pass    atomic.Pointer[func(os.Signal)] // takes signals in place of this process; nil: nothing does
}

// endingKey is the key of the ending in a context.
type endingKey struct{}

func (e *ending) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, endingKey{}, e)
}

// endingOf returns the ending that a command's context carries.
func endingOf(ctx context.Context) *ending { return ctx.Value(endingKey{}).(*ending) }

// signalError is why a run ended.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string { return "interrupted by " + signalNames[e.signal] }

var signalNames = map[syscall.Signal]string{
	syscall.SIGHUP:  "SIGHUP",
	syscall.SIGINT:  "SIGINT",
	syscall.SIGTERM: "SIGTERM",
}

// watchSignals ends the run in order at the first signal and at once at the second, or
// if the first has not ended it after a while: nobody waits for a system call or a word
// of the language that takes forever. What children leave dies with this process, what
// it leaves the next one removes. A signal that the caller ignores stays ignored, as
// nohup and shells that start something in the background mean it.
func (e *ending) watchSignals(cancel context.CancelCauseFunc) {
	first := (<-e.signals).(syscall.Signal)
	for pass := e.pass.Load(); pass != nil; first = (<-e.signals).(syscall.Signal) {
		(*pass)(first)
	}
	cancel(signalError{first})
	select {
	case second := <-e.signals:
		e.codes <- 128 + int(second.(syscall.Signal))
	case <-time.After(endGrace + time.Duration(e.more.Load())):
		e.abandon(signalError{first}, 128+int(first))
	}
}

// caughtSignals are the signals that end the process in order, as they come.
func caughtSignals() <-chan os.Signal {
	signals := make(chan os.Signal, 2)
	for _, s := range host.Signals {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	return signals
}

// bound ends the command after some time, if that is not zero: as a signal does, in order,
// or else by force.
func bound(cmd *cobra.Command, after timeLimit) (release func()) {
	if after == 0 {
		return func() {}
	}
	limit := time.Duration(after)
	cause := fmt.Errorf("timed out after %v", limit)
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), limit, cause)
	cmd.SetContext(ctx)
	late := time.AfterFunc(limit+min(endGrace, math.MaxInt64-limit), func() { endingOf(ctx).abandon(cause, exitError) })
	return func() {
		late.Stop()
		cancel()
	}
}

// timeLimit is the flag --timeout.
type timeLimit time.Duration

const timeLimitUsage = "end the run after this `duration`, such as 90s or 2h"

// Set implements pflag.Value.
func (l *timeLimit) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = errors.New("it is negative; 0 means no limit")
	}
	*l = timeLimit(d)
	return err
}

func (l *timeLimit) Type() string { return "duration" }

func (l *timeLimit) String() string {
	if *l == 0 {
		return "" // which the help does not show
	}
	return time.Duration(*l).String()
}

// abandon ends the process, whatever it is doing.
func (e *ending) abandon(cause error, code int) {
	fmt.Fprintf(os.Stderr, "error: %s; it did not end in order, and was left as it was\n", printable.Text(cause.Error()))
	e.codes <- code
}
