package builtins

import (
	"errors"
	"fmt"
	"path"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/unpack"
)

// unpack(root, file, into="/", strip=0) unpacks a tar archive of any compression, or a
// squashfs image, into a directory of the rootfs, with owners, device nodes, extended
// attributes and capabilities. What a file is, its first bytes say. strip drops leading
// elements of the names of a tar archive.
func (b *Build) unpack(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *Rootfs
	var file *File
	into, strip := "/", 0
	if err := unpackArgs(fn, args, kwargs, "root", &root, "file", &file, "into?", &into, "strip?", &strip); err != nil {
		return nil, err
	}
	if err := root.checkMutable("unpack into"); err != nil {
		return nil, err
	}
	if strip < 0 {
		return nil, errors.New("unpack: strip is negative")
	}
	s := b.newStep(thread, fn, root, Arg{"file", file}, Arg{"into", into}, Arg{"strip", strip})
	for _, program := range unpack.Guess(file.name) {
		s.Needs = append(s.Needs, Need{Name: program})
	}
	if file.path != "" { // not in a plan
		if err := unpackSpec(s, file, into, strip); err != nil {
			return nil, fmt.Errorf("cannot unpack %s: %w", file.name, err)
		}
	}
	return starlark.None, b.Worker.Change(Context(thread), s)
}

func unpackSpec(s *Step, file *File, into string, strip int) error {
	format, err := unpack.Detect(file.path)
	if err != nil {
		return err
	}
	for _, program := range format.Programs() {
		if !host.Installed(program) {
			return host.Missing(program, "")
		}
	}
	dir := path.Join(sandbox.RootfsDir, path.Clean("/"+into))
	command, err := format.Command(path.Join(sandbox.FilesDir, "archive"), dir, strip)
	if err != nil {
		return err
	}
	s.Spec = sandbox.Spec{NoSync: true, NoNet: true, Host: &sandbox.Host{
		Programs: []sandbox.Program{{Args: []string{"mkdir", "-p", dir}}, {Args: command}},
		Env:      host.Environ(nil),
		Files:    []sandbox.File{{Name: "archive", Source: file.path}},
	}}
	return nil
}
