package build

import (
	"context"
	"encoding/gob"
	"errors"
	"io"
	"os"

	"imagebuilder/builtins/packages"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
	"imagebuilder/builtins/treetask"
)

// What makes two images different.

// A Compared is one of two sides of a comparison: a root file system, in a room or in a
// directory of the host, and what an image has beside it.
type Compared struct {
	Room *Room    // nil: Dir
	Dir  *os.File // of the host

	System, Beside, Skip string // see [treetask.Side]
}

// A Comparison is what is compared, and how.
type Comparison struct {
	Old, New Compared
	Ignore   []string // kinds of differences: see [tree.Kinds]
	Leave    []string // patterns of paths of which nobody wants to know
}

// Packages are those of the root file system.
func (c Compared) Packages(ctx context.Context) (packages.List, error) {
	if c.Room != nil {
		return c.Room.Packages(ctx, c.System)
	}
	return treetask.Packaging.Run(ctx, nil, "", c.Dir)
}

// Compare tells of each difference while it is found, and how much there is on both sides.
// Nothing is kept, so that images of any size can be compared.
func Compare(ctx context.Context, c Comparison, found func(tree.Difference) error) (totals [2]tree.Totals, err error) {
	sides := treetask.Sides{Ignore: c.Ignore, Leave: c.Leave}
	var stacks []sandbox.Stack
	var files []*os.File
	for i, side := range []*treetask.Side{&sides.Old, &sides.New} {
		from := []Compared{c.Old, c.New}[i]
		*side = treetask.Side{Rootfs: -1, System: from.System, Beside: from.Beside, Skip: from.Skip}
		if from.Room == nil {
			files = append(files, from.Dir)
			continue
		}
		side.Rootfs = len(stacks)
		stacks = append(stacks, from.Room.reading())
	}
	r, w, err := os.Pipe()
	if err != nil {
		return totals, err
	}
	heard := make(chan error, 1)
	go func() {
		defer r.Close() // which ends the comparison, if nobody listens any longer
		heard <- hear(r, found)
	}()
	totals, err = treetask.Comparing.Run(ctx, stacks, sides, append(files, w)...)
	w.Close()
	if told := <-heard; told != nil {
		return totals, told
	}
	return totals, err
}

// hear passes on what a comparison finds, to the end.
func hear(r io.Reader, found func(tree.Difference) error) error {
	in := gob.NewDecoder(r)
	for {
		var d tree.Difference
		if err := in.Decode(&d); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := found(d); err != nil {
			return err
		}
	}
}
