package builtins

import (
	"cmp"
	"fmt"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/disk"
)

// The word make_disk. How a disk is laid out and made is in package disk.

// make_disk(root, size="", filesystem="", options=[], esp_size="", partition_names=["", ""],
// uuid="", partuuid="", esp_uuid="", esp_partuuid="", disk_uuid="", programs={},
// environment={}) returns a rootfs with the content of root on the disk of a virtual
// machine. It is what disk of the standard library is made of, which says what that means.
// programs are scripts by their names: later steps find them before those of the image.
// environment are variables of theirs.
//
// Example:
//
//	vm = make_disk(root, size = "8GiB", filesystem = "btrfs", options = ["--nodiscard"])
func (b *Words) makeDisk(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *rootfs
	var size, espSize string
	var d disk.Disk
	var fsOptions, names stringList
	var programs, environment stringMap
	if err := unpackArgs(fn, args, kwargs, "root", &root, "size?", &size, "filesystem?", &d.FileSystem, "options?", &fsOptions, "esp_size?", &espSize,
		"partition_names?", &names, "uuid?", &d.UUID, "partuuid?", &d.PartUUID, "esp_uuid?", &d.ESPUUID,
		"esp_partuuid?", &d.ESPPart, "disk_uuid?", &d.TableUUID,
		"programs?", &programs, "environment?", &environment); err != nil {
		return nil, err
	}
	for _, one := range []struct {
		name, text string
		to         *int64
	}{{"size", size, &d.Size}, {"esp_size", espSize, &d.ESPSize}} {
		var n bytesize.Size
		if one.text == "" {
			continue
		}
		if err := n.Set(one.text); err != nil {
			return nil, Misuse{fmt.Errorf("disk: %s: %w", one.name, err)}
		}
		*one.to = int64(n) // 0 is the default, as the older tool has it
	}
	d.Options, d.Names = fsOptions, names
	d = d.Complete(root.identity()...)
	if err := d.Check(); err != nil {
		return nil, Misuse{fmt.Errorf("disk: %w", err)}
	}
	on, err := root.branch("vm")
	if err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	s := b.newStep(thread, fn, on, arg("size", cmp.Or(size, bytesize.Size(d.Size).String())), arg("filesystem", d.FileSystem))
	if espSize != "" {
		s.Args = append(s.Args, arg("esp_size", espSize))
	}
	return on, b.Worker.Act(Context(thread), s, build.MakeDisk(s, d, build.Surroundings{Programs: programs, Environment: environment}))
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
