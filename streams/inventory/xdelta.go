package inventory

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/host"
	"imagebuilder/streams/site"
)

// The program xdelta3, and how much of the machine it may take.

// xdeltaEnv is the environment of xdelta3: without the caller's XDELTA variable,
// which could add arguments.
var xdeltaEnv = []string{"LC_ALL=C"}

// An Xdelta makes and checks deltas with the program that clients apply them with.
type Xdelta struct {
	files  *site.Files
	budget int64
	memory *semaphore.Weighted // of budget bytes, shared by all that run at a time

	once    sync.Once
	missing error
}

// NewXdelta returns an xdelta whose programs take about budget bytes together; 0 is
// half of the machine's memory.
func NewXdelta(files *site.Files, budget int64) *Xdelta {
	if budget <= 0 {
		var info unix.Sysinfo_t
		if unix.Sysinfo(&info) == nil {
			budget = int64(info.Totalram) * int64(info.Unit) / 2
		}
	}
	budget = max(budget, windowCost(minWindow))
	return &Xdelta{files: files, budget: budget, memory: semaphore.NewWeighted(budget)}
}

const (
	minWindow  = 512 << 10 // the smallest that xdelta3 takes
	maxWindow  = 2 << 30   // and the largest
	fixedCost  = 32 << 20  // of one process, besides the window
	windowFold = 3         // bytes it takes for each byte of the window, as measured
)

func windowCost(window int64) int64 { return window*windowFold + fixedCost }

// Available tells whether xdelta3 can be run at all.
func (x *Xdelta) Available(ctx context.Context) error {
	x.once.Do(func() {
		x.missing = host.Command{Args: []string{"xdelta3", "-V"}, Env: xdeltaEnv}.Run(ctx)
	})
	return x.missing
}

// window returns the size of the source window for a base: as large as the base, so
// that nothing that moved is missed, and no larger, since memory and time go by it;
// xdelta3 rounds up to a power of two anyway.
func (x *Xdelta) window(base int64) int64 {
	window := int64(minWindow)
	if base > window {
		window = min(int64(1)<<bits.Len64(uint64(base-1)), maxWindow)
	}
	for window > minWindow && windowCost(window) > x.budget {
		window /= 2
	}
	return window
}

// encode writes the delta that makes target from base to out.
func (x *Xdelta) encode(ctx context.Context, base, target string, out *os.File) error {
	files, err := x.openAll(base, target)
	if err != nil {
		return err
	}
	defer closeAll(files)
	st, err := files[0].Stat()
	if err != nil {
		return err
	}
	window := x.window(st.Size())
	cost := windowCost(window)
	if err := x.memory.Acquire(ctx, cost); err != nil {
		return context.Cause(ctx)
	}
	defer x.memory.Release(cost)
	return said(host.Command{
		Args: []string{
			"xdelta3", "-e", "-9", "-f",
			"-D", // the files are what they are, whatever compression they look like
			"-B", fmt.Sprint(window),
			"-A" + path.Base(target) + "//" + path.Base(base) + "/", // as it would be with plain names
			"-s", "/dev/fd/3", "/dev/fd/4", "/dev/fd/5",
		},
		Env:   xdeltaEnv,
		Files: append(files, out),
	}.Run(ctx))
}

// said adds to the error of a program what it said itself.
func said(err error) error {
	var exit *host.ExitError
	if !errors.As(err, &exit) || exit.Output == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, strings.ReplaceAll(exit.Output, "\n", "; "))
}

// ErrDecode says that a delta does not make what it should.
var ErrDecode = errors.New("the delta does not make the file it is for")

// Check tells whether a delta makes a file with the given hash from base. It is
// applied as clients do it.
func (x *Xdelta) Check(ctx context.Context, base, delta string, want digest.Digest) error {
	files, err := x.openAll(base, delta)
	if err != nil {
		return err
	}
	defer closeAll(files)
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	sum := make(chan digest.Digest, 1)
	go func() {
		got, _, _ := digest.Reader(r) // a pipe that breaks gives the wrong one
		sum <- got
	}()
	err = host.Command{
		Args:  []string{"xdelta3", "-d", "-f", "-s", "/dev/fd/3", "/dev/fd/4", "/dev/fd/5"},
		Env:   xdeltaEnv,
		Files: append(files, w),
	}.Run(ctx)
	w.Close()
	got := <-sum
	r.Close()
	var exit *host.ExitError
	if errors.As(err, &exit) || err == nil && got != want {
		return ErrDecode
	}
	return err
}

func (x *Xdelta) openAll(names ...string) ([]*os.File, error) {
	var files []*os.File
	for _, name := range names {
		f, err := x.files.Open(name)
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
