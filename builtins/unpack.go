package builtins

import (
	"errors"
	"fmt"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
)

// unpack(root, file, into="/", strip=0) unpacks a tar archive of any compression, or a
// squashfs image, into a directory of the rootfs, with owners, device nodes, extended
// attributes and capabilities. What a file is, its first bytes say. strip drops leading
// elements of the names of a tar archive.
func (b *Words) unpack(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *rootfs
	var archive *file
	into, strip := "/", 0
	if err := unpackArgs(fn, args, kwargs, "root", &root, "file", &archive, "into?", &into, "strip?", &strip); err != nil {
		return nil, err
	}
	if err := root.checkMutable("unpack into"); err != nil {
		return nil, err
	}
	if strip < 0 {
		return nil, errors.New("unpack: strip is negative")
	}
	s := b.newStep(thread, fn, root, arg("file", archive.File), arg("into", into), arg("strip", strip))
	change, needs, err := build.Unpack(archive.File, into, strip)
	if err != nil {
		return nil, fmt.Errorf("cannot unpack %s: %w", archive.Name, err)
	}
	s.Needs = needs
	return starlark.None, b.Worker.Change(Context(thread), s, change)
}
