package layer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/treetask"
)

// Root file systems as the rest of the tool sees them, and the usual kind.

// A State is what a root file system is at one moment. There are two kinds: a chain of
// layers, and a plain directory where overlayfs cannot serve. It is used by one goroutine
// at a time.
type State interface {
	// Key identifies the content: equal keys mean equal content.
	Key() string
	// ID identifies the very bytes: what was built anew has the same key and may have another.
	ID() string
	// Fork returns a second state with the same content. Changes of either are not seen in
	// the other.
	Fork() State
	// Stack is the root file system for reading.
	Stack() sandbox.Stack
	// Change applies a step: run changes the root file system it is given. It is not called
	// if the store has what came of it.
	Change(ctx context.Context, step Origin, run func(context.Context, sandbox.Stack) error) (Outcome, error)
	// Try gives run a root file system with the same content, which it may change: nothing of
	// it is kept.
	Try(ctx context.Context, run func(context.Context, sandbox.Stack) error) error
	// Result returns a directory with files made from the root file system, such as a packed
	// image: run puts them there, unless the store has them. It is not to be changed.
	Result(ctx context.Context, step Origin, run func(ctx context.Context, stack sandbox.Stack, dir string) error) (string, Outcome, error)
}

// NewState returns an empty root file system.
func (s *Store) NewState() State {
	if s.noOverlay {
		return &directory{store: s}
	}
	return &chain{store: s}
}

// StateOf returns a root file system whose content is a directory of the host, which is
// not changed. The key stands for the content: it must differ when that does.
func (s *Store) StateOf(dir, key string) State {
	if s.noOverlay {
		return &directory{store: s, key: key, place: &sharedDir{path: dir, users: 2}} // its owner is the other one
	}
	return &chain{store: s, base: Base{Key: key}, below: dir}
}

// maxChain is how many layers are stacked before they are copied into one. The
// kernel takes 500, but every lookup asks each of them.
const maxChain = 128

// A chain is a root file system of layers, each an entry of the store.
type chain struct {
	store  *Store
	base   Base
	layers []*Entry // lowest first
	below  string   // directory of the host under them, if any
}

func (c *chain) Key() string { return c.base.Key }

func (c *chain) ID() string {
	h := sha256.New()
	fmt.Fprintln(h, c.base.Key) // stands for what is below, too, which has no identity
	for _, e := range c.layers {
		fmt.Fprintln(h, e.ID)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (c *chain) Fork() State {
	fork := *c
	fork.layers = append([]*Entry(nil), c.layers...)
	return &fork
}

func (c *chain) Change(ctx context.Context, step Origin, run func(context.Context, sandbox.Stack) error) (Outcome, error) {
	if len(c.layers) >= maxChain {
		if err := c.flatten(ctx); err != nil {
			return Outcome{}, err
		}
	}
	step.layer = true
	e, out, err := c.store.Get(ctx, c.base, step, func(dir string) error {
		stack := c.Stack()
		stack.Upper, stack.Work = dir, filepath.Join(filepath.Dir(dir), "work")
		if err := os.Mkdir(stack.Work, 0o700); err != nil {
			return err
		}
		return run(ctx, stack)
	})
	if err != nil {
		return out, err
	}
	c.layers = append(c.layers, e)
	c.base = Base{e.Key, e.ID}
	return out, nil
}

func (c *chain) Try(ctx context.Context, run func(context.Context, sandbox.Stack) error) error {
	dir, err := c.store.scratch()
	if err != nil {
		return err
	}
	stack := c.Stack()
	stack.Upper, stack.Work = filepath.Join(dir, "data"), filepath.Join(dir, "work")
	if err := errors.Join(host.Mkdir(stack.Upper), os.Mkdir(stack.Work, 0o700)); err != nil {
		return err
	}
	return run(ctx, stack)
}

func (c *chain) Stack() sandbox.Stack {
	stack := sandbox.Stack{Point: c.store.Point(), Copies: c.store.options.Copies}
	if c.below != "" {
		stack.Lower = append(stack.Lower, c.below)
	}
	for _, e := range c.layers {
		stack.Lower = append(stack.Lower, e.Data())
	}
	return stack
}

func (c *chain) Result(ctx context.Context, step Origin, run func(ctx context.Context, stack sandbox.Stack, dir string) error) (string, Outcome, error) {
	e, out, err := c.store.Get(ctx, c.base, step, func(dir string) error {
		return run(ctx, c.Stack(), dir)
	})
	if err != nil {
		return "", out, err
	}
	return e.Data(), out, nil
}

// flatten replaces the layers by one with the same content. The key stays: what follows
// does not depend on how many layers are below.
func (c *chain) flatten(ctx context.Context) error {
	step := Origin{Name: "flatten", Inputs: []Input{{"layers", c.base.ID}}, layer: true}
	e, _, err := c.store.Get(ctx, c.base, step, func(dir string) error {
		return copyTo(ctx, c.Stack(), dir)
	})
	if err != nil {
		return err
	}
	c.layers, c.below = []*Entry{e}, ""
	return nil
}

func copyTo(ctx context.Context, from sandbox.Stack, dir string) error {
	to, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	_, err = treetask.Copying.Run(ctx, []sandbox.Stack{from}, treetask.Manner{}, to)
	return err
}
