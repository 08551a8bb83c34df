package builtins

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/tree"
)

// root.copy stands apart from the other methods on files: it alone brings files of this
// machine into an image, which have to be found, and their content made a part of the key.

// root.copy(source, path, mode=None, owner=None, group=None) copies a file to the path,
// as write does its text. source is a file of download or local, or names files of this
// machine as local does: a file, a directory, whose content is copied, or several by
// the wildcards *, ? and [a-z] in the last element. With several, or if path ends in a
// slash, it is the directory to copy them to. Symbolic links are copied as such; mode,
// owner and group are for all regular files.
//
// Example:
//
//	root.copy("motd", "/etc/motd", mode = 0o644)
//	root.copy("overlay", "/")  # all that is in the directory
func rootfsCopy(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var source starlark.Value
	var to optionalPath
	var a attributes
	if err := unpackArgs(fn, args, kwargs, a.pairs("source", &source, "path", &to)...); err != nil {
		return nil, err
	}
	r := receiver(fn)
	switch source := source.(type) {
	case *file:
		edit := tree.Edit{Path: string(to)}
		args := a.apply(&edit, build.Args{arg("file", source.File), arg("path", edit.Path)})
		return r.change(thread, fn, build.CopyIn(source.File, edit), args)
	case starlark.String:
		if source == "" {
			return nil, errors.New("copy: source is empty")
		}
		return r.copyLocal(thread, fn, string(source), string(to), &a)
	}
	return nil, fmt.Errorf("copy: for parameter source: got %s, want a file or a path of this machine", source.Type())
}

func (r *rootfs) copyLocal(thread *starlark.Thread, fn *starlark.Builtin, source, path string, a *attributes) (starlark.Value, error) {
	if err := r.checkMutable("change"); err != nil {
		return nil, err
	}
	if _, err := filepath.Match(source, ""); err != nil {
		return nil, fmt.Errorf("copy: %w: %s", err, source)
	}
	host, err := r.words.Locate(callerFile(thread), source)
	if err == nil {
		host, err = build.HostPath(host)
	}
	if err != nil {
		return nil, err
	}
	var like tree.Edit
	s := r.words.newStep(thread, fn, r, a.apply(&like, build.Args{arg("source", source), arg("path", path)})...)
	asked := *s
	need, ready := build.Expandable(host)
	need.At, asked.Ready = s.At, ready
	asked.Needs = append(asked.Needs, need)
	files, err := build.Ask(Context(thread), r.words.Worker, &asked, build.Expand(host, path))
	if err != nil {
		return nil, fmt.Errorf("cannot copy %s: %w", source, err)
	}
	edits := slices.Clone(files.Edits)
	for i := range edits {
		if edits[i].Op == "copy" {
			edits[i].SetMode, edits[i].Mode, edits[i].Owner, edits[i].Group = like.SetMode, like.Mode, like.Owner, like.Group
		}
	}
	s.Also = build.Args{arg("content", files.Content)}
	return starlark.None, r.words.Worker.Change(Context(thread), s, build.Edit(edits...))
}
