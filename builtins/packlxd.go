package builtins

import (
	"cmp"
	"fmt"
	"path/filepath"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/lxd"
	"imagebuilder/builtins/options"
	"imagebuilder/builtins/pack"
)

// The words pack_lxd and pack_incus, with what all words that pack have in common. What is
// made is in package build.

// pack_lxd(root, image, type="split", compression="xz", packer="imagebuilder",
// properties={}, dir="", format="qcow2", disk_compression="") packs a rootfs as an image for LXD in the target
// directory of the run, or in dir below it: as lxd.tar.xz, the metadata, and
// rootfs.squashfs, or, with type="unified", as one archive with the name of the image.
// compression is METHOD or METHOD-LEVEL; the methods are bzip2, gzip, lz4 (of squashfs;
// archives stay as they are), lzip, lzma, lzo, xz, zstd and none, without bzip2 and lzip in
// a split image of a container. packer="mksquashfs" has rootfs.squashfs made by that program,
// which takes no level of xz. properties are added to those of the image. The rootfs is
// frozen.
//
// One on a disk, which disk gives, is packed for virtual machines: disk.qcow2 takes the
// place of rootfs.squashfs. disk_compression is the one inside, "zlib", "zstd" or "none".
// With format="raw" the disk is disk.img, for others than LXD, compressed as
// disk_compression says: "xz" makes disk.img.xz. That it is too small for what is to be on it, and what FAT
// cannot hold below /boot/efi, is an error.
//
// It returns a struct with the files metadata and rootfs or disk, or the file unified, and
// the image's fingerprint. An image that has not changed is handed out as it was packed
// before, with the name, the serial and the dates of then, until half of the time after
// which it expires has passed since, or the image says another serial.
//
// Example:
//
//	packed = pack_lxd(fork(root, target = "lxd"), img)  # lxd.tar.xz, rootfs.squashfs
//	packed = pack_lxd(disk(fork(root, target = "vm")), img)  # lxd.tar.xz, disk.qcow2
func (b *Words) packLXD(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return b.packFor(lxd.LXD, thread, fn, args, kwargs)
}

// pack_incus(root, image, type="split", compression="xz", packer="imagebuilder",
// properties={}, dir="", format="qcow2", disk_compression="") packs a rootfs as an image for Incus. It is
// pack_lxd in all but the name of the metadata, which is incus.tar.xz: LXD and Incus take
// the same images, but for the agent in one of a virtual machine (see generate), which is
// that of one of them.
//
// Example:
//
//	packed = pack_incus(fork(root, target = "lxd"), img)  # incus.tar.xz, rootfs.squashfs
func (b *Words) packIncus(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return b.packFor(lxd.Incus, thread, fn, args, kwargs)
}

func (b *Words) packFor(server lxd.Server, thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *rootfs
	var img *image
	var properties stringMap
	var dir string
	var format build.DiskFormat
	o := build.ForLXD(options.InRecipe)
	pairs := argumentsOf([]any{"root", &root, "image", &img}, o, "properties?", &properties, "dir?", &dir,
		"format?", &format.Format, "disk_compression?", &format.Compression)
	if err := unpackArgs(fn, args, kwargs, pairs...); err != nil {
		return nil, err
	}
	o.Disk = root.root.Disk != nil
	if !o.Disk && format != (build.DiskFormat{}) {
		return nil, Misuse{fmt.Errorf("%s: the rootfs is on no disk, which has a format; make one by disk", fn.Name())}
	}
	if root.root.Target == "vm" && !o.Disk {
		return nil, Misuse{fmt.Errorf("%s: the rootfs is for virtual machines and on no disk; make one by disk", fn.Name())}
	}
	if err := checkOptions(fn, o, args, kwargs, namedArgs(kwargs)); err != nil {
		return nil, err
	}
	if _, err := img.At(b.Now); err != nil {
		return nil, Misuse{fmt.Errorf("%s: %w", fn.Name(), err)}
	}
	s := b.newStep(thread, fn, root, arg("image", img.Image), arg("type", o.Form), arg("compression", o.Compression.String()))
	if o.Packer != pack.Own {
		s.Args = append(s.Args, arg("packer", o.Packer))
	}
	if len(properties) > 0 {
		s.Args = append(s.Args, arg("properties", map[string]string(properties)))
	}
	if o.Disk {
		format.Format = cmp.Or(format.Format, build.QCow2)
		s.Args = append(s.Args, arg("format", format.Format))
		if format.Compression != "" {
			s.Args = append(s.Args, arg("disk_compression", format.Compression))
		}
	}
	product, err := build.LXDImage{
		Server: server, Image: img.Image, Unified: o.Form == build.Unified, Disk: root.root.Disk, DiskFormat: format,
		Compression: o.Compression, Packer: o.Packer, Properties: properties, Templates: root.templates, Now: b.Now,
	}.Pack(s, dir)
	if err != nil { // about options and the name, which no answer of an image has led to
		return nil, Misuse{fmt.Errorf("%s: %w", fn.Name(), err)}
	}
	if err := checkDir(dir); err != nil {
		return nil, fmt.Errorf("%s: %w", fn.Name(), err)
	}
	root.freeze("it is packed")
	files, err := b.Worker.Make(Context(thread), s, product)
	if err != nil {
		return nil, err
	}
	return packed(files, o.Disk), nil
}

// checkDir finds what is wrong with a directory below the target directory.
func checkDir(dir string) error {
	if dir != "" && !filepath.IsLocal(dir) {
		return fmt.Errorf("dir is not below the target directory: %q", dir)
	}
	return nil
}

// packed is what a recipe gets of an LXD image.
func packed(files []*build.File, disk bool) starlark.Value {
	fields := make(starlark.StringDict)
	switch {
	case len(files) == 1:
		fields["unified"] = &file{files[0]}
	case disk:
		fields["metadata"], fields["disk"] = &file{files[0]}, &file{files[1]}
	default:
		fields["metadata"], fields["rootfs"] = &file{files[0]}, &file{files[1]}
	}
	fields["fingerprint"] = starlark.String(files[len(files)-1].Fingerprint)
	return newStruct(fields)
}
