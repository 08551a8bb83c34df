package layer

import (
	"context"
	"os"
	"path/filepath"

	"imagebuilder/builtins/sandbox"
)

// maxChain is how many layers are stacked before they are copied into one. The
// kernel takes 500, but every lookup asks each of them.
const maxChain = 128

// A Tree is the state of one root file system: a chain of entries or, where
// overlayfs cannot serve, a plain directory. It is used by one goroutine at a time.
type Tree struct {
	store *Store
	base  Base
	chain []*Entry // lowest first
	dir   *plainDir
	below string // directory of the host under the whole chain, if any
}

// NewTree returns an empty root file system.
func (s *Store) NewTree() *Tree {
	return &Tree{store: s}
}

// TreeOf returns a tree whose content is a directory of the host, which is not
// changed. The key stands for the content: it must differ when that does.
func (s *Store) TreeOf(dir, key string) *Tree {
	t := &Tree{store: s, base: Base{Key: key}, below: dir}
	if s.plain {
		t.dir = &plainDir{path: dir, users: 2} // its owner is the other one
	}
	return t
}

// Key identifies the tree's content: equal keys mean equal content.
func (t *Tree) Key() string { return t.base.Key }

// Fork returns a second tree with the same content. Changes of either are not seen
// in the other.
func (t *Tree) Fork() *Tree {
	fork := *t
	fork.chain = append([]*Entry(nil), t.chain...)
	if t.dir != nil {
		t.dir.users++
	}
	return &fork
}

// Change applies a step: run changes the root file system it is given. The step is
// not run if the store has its result.
func (t *Tree) Change(ctx context.Context, step Step, run func(context.Context, sandbox.Rootfs) error) (Outcome, error) {
	if t.store.plain {
		return t.changePlain(ctx, step, run)
	}
	if len(t.chain) >= maxChain {
		if err := t.flatten(ctx); err != nil {
			return Outcome{}, err
		}
	}
	e, out, err := t.store.Get(ctx, t.base, step, func(dir string) error {
		rootfs := t.rootfs()
		rootfs.Upper, rootfs.Work = dir, filepath.Join(filepath.Dir(dir), "work")
		if err := os.Mkdir(rootfs.Work, 0o700); err != nil {
			return err
		}
		return run(ctx, rootfs)
	})
	if err != nil {
		return out, err
	}
	t.chain = append(t.chain, e)
	t.base = Base{e.Key, e.ID}
	return out, nil
}

// View is the root file system for reading.
func (t *Tree) View() sandbox.Rootfs {
	rootfs := t.rootfs()
	if t.dir != nil {
		rootfs.Dir, rootfs.ReadOnly = t.dir.path, true
	}
	return rootfs
}

// Empty tells whether the tree holds nothing at all.
func (t *Tree) Empty() bool { return len(t.chain) == 0 && t.dir == nil && t.below == "" }

func (t *Tree) rootfs() sandbox.Rootfs {
	rootfs := sandbox.Rootfs{Point: t.store.Point()}
	if t.below != "" {
		rootfs.Lower = append(rootfs.Lower, t.below)
	}
	for _, e := range t.chain {
		rootfs.Lower = append(rootfs.Lower, e.Data())
	}
	return rootfs
}

// Result returns a directory with files made from the tree, such as a packed image:
// run puts them there, unless the store has them. The directory is not to be changed.
func (t *Tree) Result(ctx context.Context, step Step, run func(ctx context.Context, rootfs sandbox.Rootfs, dir string) error) (string, Outcome, error) {
	if t.store.plain {
		dir, err := t.store.scratch()
		if err == nil {
			err = run(ctx, t.View(), dir)
		}
		return dir, Outcome{Why: plainReason}, err
	}
	e, out, err := t.store.Get(ctx, t.base, step, func(dir string) error {
		return run(ctx, t.View(), dir)
	})
	if err != nil {
		return "", out, err
	}
	return e.Data(), out, nil
}

// flatten replaces the chain by one layer with the same content. The key of the tree
// stays: what follows does not depend on how many layers are below.
func (t *Tree) flatten(ctx context.Context) error {
	step := Step{Name: "flatten", Inputs: []Input{{"layers", t.base.ID}}}
	e, _, err := t.store.Get(ctx, t.base, step, func(dir string) error {
		return copyTo(ctx, t.rootfs(), dir)
	})
	if err != nil {
		return err
	}
	t.chain, t.below = []*Entry{e}, ""
	return nil
}

func copyTo(ctx context.Context, from sandbox.Rootfs, dir string) error {
	_, err := sandbox.Run(ctx, sandbox.Spec{Rootfs: from, Copy: &sandbox.Copy{To: dir}}, discard{})
	return err
}
