// Package boot finds out whether the image of a disk boots: it starts it in QEMU and reads
// the serial console until a text appears there, such as a login prompt.
//
// The image is never written to, and nothing of a run is left behind, whatever ends it: what
// the guest writes goes into files without names. The guest has no network. Whether what
// runs in it works as it should is no concern of this package, and neither are containers:
// see package lxd.
package boot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"time"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/problems"
)

// What a guest is and does where nobody says otherwise.
const (
	DefaultExpect  = "login:"
	DefaultTimeout = 10 * time.Minute
	DefaultMemory  = bytesize.Size(1 << 30)
)

// A Guest is a virtual machine that is started to see whether its disk boots. The zero value
// of every field but Files has a meaning.
type Guest struct {
	// Files are the image: a disk, qcow2 or raw, which may be compressed; a unified archive for
	// LXD that holds one; or the metadata archive and the disk of a split one.
	Files        []string
	Architecture string        // by a name that LXD has for it; "": the one in the metadata, or else that of this machine
	SecureBoot   bool          // the firmware starts only what Microsoft's keys have signed
	Memory       bytesize.Size // 0: DefaultMemory
	Timeout      time.Duration // until the text must be there; 0: there is no limit
	Console      io.Writer     // gets the lines of the console as they come, without escapes; nil: nobody does
}

// Check finds what is wrong with a guest before its files are looked at.
func (g Guest) Check() error {
	const least = 128 << 20 // of which the firmware takes the half
	if g.Memory != 0 && g.Memory < least {
		return fmt.Errorf("%v of memory are too little, the least is %v", g.Memory, bytesize.Size(least))
	}
	if g.Timeout < 0 {
		return errors.New("the timeout is negative")
	}
	if g.Architecture == "" {
		return nil
	}
	_, err := machineOf(g.Architecture)
	return err
}

// CheckExpect finds what is wrong with a text to wait for.
func CheckExpect(text string) error {
	switch {
	case text == "":
		return errors.New("the text to wait for is empty")
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("the text to wait for is part of a line, so %q has no control characters", text)
	case len(text) > maxLine/2:
		return fmt.Errorf("the text to wait for has more than %d bytes", maxLine/2)
	}
	return nil
}

// Booted says how a guest has booted.
type Booted struct {
	Took time.Duration // from the start of QEMU to the text
	By   string        // what it has run on: "KVM" or "software emulation of x86_64"
}

// Wait starts the guest and waits for a text to appear on its console, within one line. The
// guest is gone when it returns. That the guest ends first, says that it cannot go on or
// takes longer than its timeout is an error that has a [host.ExitError] with the last lines
// of the console.
func (g Guest) Wait(ctx context.Context, expect string) (booted Booted, err error) {
	if err := errors.Join(CheckExpect(expect), g.Check()); err != nil {
		return booted, err
	}
	img, err := open(ctx, g.Files)
	if err != nil {
		return booted, err
	}
	defer func() { err = problems.Join(err, img.Close()) }()
	m, err := machineOf(cmp.Or(g.Architecture, img.architecture, host.Machine()))
	if err == nil {
		err = m.missing(g.SecureBoot)
	}
	if err != nil {
		return booted, fmt.Errorf("cannot boot %s: %w", img.name, err)
	}
	q := qemu{machine: m, secure: g.SecureBoot, memory: cmp.Or(g.Memory, DefaultMemory)}
	if err := q.prepare(ctx, img); err != nil {
		return booted, fmt.Errorf("cannot boot %s: %w", img.name, err)
	}
	defer func() { err = problems.Join(err, q.Close()) }()

	start := time.Now()
	err = g.watch(ctx, q.command(), expect)
	if errors.As(err, new(*host.ExitError)) {
		return booted, fmt.Errorf("%s does not boot: %w", img.name, err)
	}
	return Booted{time.Since(start), q.by()}, err
}

// watch runs QEMU until the console has decided what becomes of the guest.
func (g Guest) watch(ctx context.Context, command host.Command, expect string) error {
	late := fmt.Errorf("%q was not on its console within %v", expect, g.Timeout)
	limited, stop := context.WithTimeoutCause(ctx, cmp.Or(g.Timeout, math.MaxInt64), late)
	defer stop()
	running, end := context.WithCancelCause(limited)
	defer end(nil)

	c := &console{out: g.Console, expect: expect, decide: end}
	command.Stdout, command.Stderr = c, c
	err := command.Run(running)
	c.flush()
	var exit *host.ExitError
	switch {
	case errors.Is(err, errThere):
		return nil
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case errors.Is(err, late), errors.As(err, new(sign)):
	case err == nil:
		err = fmt.Errorf("it was shut down before %q was on its console", expect)
	case errors.As(err, &exit):
		err = fmt.Errorf("QEMU ended before %q was on its console: %w", expect, exit.Err)
	default: // QEMU did not run
		return err
	}
	return &host.ExitError{Err: err, Output: c.tail.String()}
}

// names are the names of files without their directories.
func names(files []string) string {
	list := make([]string, len(files))
	for i, f := range files {
		list[i] = filepath.Base(f)
	}
	return strings.Join(list, ", ")
}
