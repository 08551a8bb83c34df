package builtins

import (
	"cmp"
	"fmt"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/disk"
)

// The word disk. How a disk is laid out and made is in package disk.

// disk(root, size="4GiB", filesystem="ext4", options=[], esp_size="100MiB",
// partition_names=["", ""], uuid="", partuuid="", esp_uuid="", esp_partuuid="",
// disk_uuid="") returns a rootfs with the content of root for a virtual machine: for the
// programs of later steps it lies on a disk with a GUID partition table, an EFI system
// partition, FAT32 labelled UEFI and mounted on /boot/efi, and a root partition labelled
// rootfs. Boot loaders can be installed there. pack_lxd and export make the disk.
//
// Sizes are texts such as "4GiB" or "8GB"; "" is the default. filesystem is "ext4" or "btrfs", with the
// root in a subvolume "@", and options are further arguments of mke2fs or mkfs.btrfs.
// partition_names are those of the EFI and the root partition in the table. UUIDs that are
// not given are made of what the image is: of its distribution, release, variant,
// architecture and serial, if it says one. esp_uuid is a volume ID such as "12AB-34CD".
//
// Programs find them in the variables LXD_IMAGEBUILDER_ROOT_UUID, "UUID=…", and
// LXD_IMAGEBUILDER_ROOT_PARTUUID, "PARTUUID=…", and under the same names with DISTROBUILDER;
// a recipe finds all as root.disk. A size that makes no sense and a file system that this
// machine cannot make are errors before a run starts.
func (b *Words) disk(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *rootfs
	var size, espSize, fs string
	var given disk.Disk
	var fsOptions, names stringList
	if err := unpackArgs(fn, args, kwargs, "root", &root, "size?", &size, "filesystem?", &fs, "options?", &fsOptions, "esp_size?", &espSize,
		"partition_names?", &names, "uuid?", &given.UUID, "partuuid?", &given.PartUUID, "esp_uuid?", &given.ESPUUID,
		"esp_partuuid?", &given.ESPPart, "disk_uuid?", &given.TableUUID); err != nil {
		return nil, err
	}
	d := disk.New(root.identity()...)
	for _, one := range []struct {
		name, text string
		to         *int64
	}{{"size", size, &d.Size}, {"esp_size", espSize, &d.ESPSize}} {
		var n bytesize.Size
		if one.text == "" {
			continue
		}
		if err := n.Set(one.text); err != nil {
			return nil, Misuse{fmt.Errorf("%s: %s: %w", fn.Name(), one.name, err)}
		}
		if n > 0 { // which the older tool takes for the default
			*one.to = int64(n)
		}
	}
	for _, one := range []struct {
		text string
		to   *string
	}{{fs, &d.FileSystem}, {given.UUID, &d.UUID}, {given.PartUUID, &d.PartUUID}, {given.ESPUUID, &d.ESPUUID}, {given.ESPPart, &d.ESPPart}, {given.TableUUID, &d.TableUUID}} {
		if one.text != "" {
			*one.to = one.text
		}
	}
	d.Options = fsOptions
	if names != nil {
		d.Names = names
	}
	if err := d.Check(); err != nil {
		return nil, Misuse{fmt.Errorf("%s: %w", fn.Name(), err)}
	}
	on, err := root.fork("vm")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fn.Name(), err)
	}
	for name, value := range d.Environment() {
		on.env.SetKey(starlark.String(name), starlark.String(value))
	}
	s := b.newStep(thread, fn, on, arg("size", cmp.Or(size, "4GiB")), arg("filesystem", d.FileSystem))
	if espSize != "" {
		s.Args = append(s.Args, arg("esp_size", espSize))
	}
	return on, b.Worker.Act(Context(thread), s, build.MakeDisk(s, d))
}

// leaveDisk makes a rootfs one that is on no disk.
func (r *rootfs) leaveDisk() {
	if r.root.Disk == nil {
		return
	}
	for name := range r.root.Disk.Environment() {
		r.env.Delete(starlark.String(name))
	}
	r.root.Disk = nil
}

// identity is what the UUIDs of a disk are made of.
func (r *rootfs) identity() []string {
	img, ok := r.image.(*image)
	if !ok {
		return []string{r.root.Name}
	}
	return []string{img.Distribution, img.Release, img.Variant, img.Kernel, img.Serial}
}

// diskValue is what a recipe finds as root.disk; None: it is on none.
func (r *rootfs) diskValue() starlark.Value {
	d := r.root.Disk
	if d == nil {
		return starlark.None
	}
	return newStruct(starlark.StringDict{
		"size":         starlark.MakeInt64(d.Size),
		"filesystem":   starlark.String(d.FileSystem),
		"uuid":         starlark.String(d.UUID),
		"partuuid":     starlark.String(d.PartUUID),
		"esp_uuid":     starlark.String(d.ESPUUID),
		"esp_partuuid": starlark.String(d.ESPPart),
		"disk_uuid":    starlark.String(d.TableUUID),
	})
}
