package builtins

import (
	"errors"
	"fmt"
	"path"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
)

// The word export: what is made of a root file system without being an image.

// export(root, dir="", replace=False) copies the whole content of the rootfs into a
// directory below the target directory of the run, or into that itself. What is there
// is kept, except where the rootfs has a file of the same name; with replace, a root
// file system that is there is replaced, and anything else is an error. A rootfs that began
// as what is there (see exported) replaces that. Bad places are found before a run starts.
//
// export(root, dir, format, disk_compression="") writes the disk of a rootfs that is on one
// (see disk) into a file instead, and returns that: dir is its path. format is "raw" or "qcow2", disk_compression as pack_lxd
// has it. The rootfs is frozen.
//
// Example:
//
//	export(root, "tree")  # a directory of the results
//	export(disk(root), "disk.qcow2", format = "qcow2")  # a file
func (b *Words) export(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *rootfs
	var dir string
	var replace bool
	var format build.DiskFormat
	if err := unpackArgs(fn, args, kwargs, "root", &root, "dir?", &dir, "replace?", &replace,
		"format?", &format.Format, "disk_compression?", &format.Compression); err != nil {
		return nil, err
	}
	if err := checkDir(dir); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	if err := root.checkSettled("export"); err != nil {
		return nil, err
	}
	if format != (build.DiskFormat{}) {
		return b.exportDisk(thread, fn, root, dir, format)
	}
	s := b.newStep(thread, fn, root, arg("path", dir), arg("replace", replace))
	return starlark.None, b.Worker.Act(Context(thread), s, build.Export(s, dir, replace))
}

func (b *Words) exportDisk(thread *starlark.Thread, fn *starlark.Builtin, root *rootfs, name string, format build.DiskFormat) (starlark.Value, error) {
	if path.Clean(name) == "." {
		return nil, Misuse{errors.New("export: a disk is written into a file, whose path is missing")}
	}
	s := b.newStep(thread, fn, root, arg("path", name), arg("format", format.Format))
	img, ok := root.image.(*image)
	if !ok {
		img = &image{Image: &build.Image{Name: root.root.Name}}
	}
	product, err := build.ExportDisk(s, img.Image, name, format)
	if err != nil {
		return nil, Misuse{fmt.Errorf("export: %w", err)}
	}
	root.freeze("its disk is made")
	files, err := b.Worker.Make(Context(thread), s, product)
	if err != nil {
		return nil, err
	}
	return &file{files[0]}, nil
}
