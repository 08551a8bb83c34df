// Package treetask has what package tree does to a root file system done in a child of the
// sandbox, which mounts that for the task alone.
package treetask

import (
	"context"
	"fmt"
	"path"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/packages"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
)

// Editing applies edits to a root file system, one after the other.
var Editing = sandbox.NewTask("edit", func(_ context.Context, in *sandbox.Inside, edits []tree.Edit) (sandbox.None, error) {
	for _, e := range edits {
		if err := tree.Apply(in.Roots[0], e); err != nil {
			return false, err
		}
	}
	return false, nil
})

// Looking answers a question about the files of a root file system.
var Looking = sandbox.NewTask("look", func(_ context.Context, in *sandbox.Inside, q tree.Look) (tree.Answer, error) {
	return q.Answer(in.Roots[0])
})

// Region is a directory of a root file system, and how many names are wanted of it.
type Region struct {
	Dir   string
	Names int
}

// Surveying tells where the bytes of a root file system are.
var Surveying = sandbox.NewTask("survey", func(_ context.Context, in *sandbox.Inside, r Region) (tree.Survey, error) {
	dir, err := in.Roots[0].Sub(r.Dir)
	if err != nil {
		return tree.Survey{}, err
	}
	defer dir.Close()
	return tree.TakeSurvey(dir, r.Names)
})

// Packaging tells which packages a directory of a root file system has: of the first, or of the
// host if the task has a file, which is then that directory.
var Packaging = sandbox.NewTask("packages", func(_ context.Context, in *sandbox.Inside, name string) (packages.List, error) {
	if len(in.Files) > 0 {
		return packages.Read(dirfd.New(in.Files[0], dirfd.InRoot)), nil
	}
	dir, err := in.Roots[0].Sub(name)
	if err != nil {
		return packages.List{}, err
	}
	defer dir.Close()
	return packages.Read(dir), nil
})

// Place is where a tree is copied from and to: directories of two root file systems.
type Place struct{ From, To string }

// CopyingFrom copies a directory of the second root file system into one of the first, which
// it makes if needed, over what is there.
var CopyingFrom = sandbox.NewTask("copy from", func(ctx context.Context, in *sandbox.Inside, p Place) (sandbox.None, error) {
	from, err := in.Roots[1].Sub(p.From)
	if err != nil {
		return false, fmt.Errorf("cannot copy %s of the other rootfs: %w", path.Clean("/"+p.From), dirfd.Cause(err))
	}
	defer from.Close()
	if err := in.Roots[0].MkdirAll(p.To, 0o755); err != nil {
		return false, err
	}
	to, err := in.Roots[0].Sub(p.To)
	if err != nil {
		return false, err
	}
	defer to.Close()
	c := tree.Copier{Merge: true}
	return false, c.Copy(ctx, to, from)
})

// Manner is how a root file system is copied; see [tree.Copier].
type Manner struct {
	Merge bool
	Epoch host.Epoch
	Omit  string
}

// Copying copies a root file system into a directory, the first file of the task.
var Copying = sandbox.NewTask("copy", func(ctx context.Context, in *sandbox.Inside, m Manner) (sandbox.None, error) {
	c := tree.Copier{Merge: m.Merge, Epoch: m.Epoch, Omit: m.Omit}
	return false, c.Copy(ctx, dirfd.New(in.Files[0], dirfd.InRoot), in.Roots[0])
})
