package builtins

import (
	"errors"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
)

// root.copy_from(other, source="/", path="/") copies the content of the directory source of
// another rootfs into the directory path, which is made if it is not there and gets the
// owner, mode and times of source: files with owners, modes, times, extended attributes, hard
// links and device nodes. What is at path stays, except where source has a file of the name.
// It is done again when the content of the other rootfs has changed; later changes of that
// are not seen.
//
// Example:
//
//	build = fork(root)
//	install(build, ["make", "gcc"])
//	chroot_run(build, "#!/bin/sh\nmake -C /src install DESTDIR=/out\n", network = False)
//	root.copy_from(build, source = "/out")
func rootfsCopyFrom(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var other *rootfs
	source, path := anyPath("/"), anyPath("/")
	if err := unpackArgs(fn, args, kwargs, "other", &other, "source?", &source, "path?", &path); err != nil {
		return nil, err
	}
	r := receiver(fn)
	if other == r {
		return nil, Misuse{errors.New("copy_from: the other rootfs is this one; copy from a fork of it")}
	}
	if other.root.Empty() {
		return nil, Misuse{errors.New("copy_from: the other rootfs is empty")}
	}
	if err := errors.Join(r.checkMutable("change"), other.checkSettled("copy from")); err != nil {
		return nil, err
	}
	content, err := build.Ask(Context(thread), r.words.Worker, r.words.newStep(thread, fn, other), build.ContentOf(other.root))
	if err != nil {
		return nil, err
	}
	s := r.words.newStep(thread, fn, r, arg("other", other.root.Name), arg("source", string(source)), arg("path", string(path)))
	return starlark.None, r.words.Worker.Change(Context(thread), s, build.CopyFrom(s, content, string(source), string(path)))
}
