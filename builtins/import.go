package builtins

import (
	"fmt"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/lxd"
)

// import_lxd(image, alias="", description="") hands an image that pack_lxd has made to
// the LXD daemon of this machine and gives it an alias, if there is to be one. An image
// that LXD has already is not sent again; an alias of another image is an error.
//
// Example:
//
//	packed = pack_lxd(root, img)
//	import_lxd(packed, alias = "debian-ssh")
func (b *Words) importLXD(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return b.importInto(lxd.LXD, thread, fn, args, kwargs)
}

// import_incus(image, alias="", description="") hands an image that pack_incus has made to
// the Incus daemon of this machine, as import_lxd does to that of LXD.
//
// Example:
//
//	packed = pack_incus(root, img)
//	import_incus(packed, alias = "debian-ssh")
func (b *Words) importIncus(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return b.importInto(lxd.Incus, thread, fn, args, kwargs)
}

func (b *Words) importInto(server lxd.Server, thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var image starlark.Value
	var alias, description string
	if err := unpackArgs(fn, args, kwargs, "image", &image, "alias?", &alias, "description?", &description); err != nil {
		return nil, err
	}
	files, fingerprint, err := imageFiles(image)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fn.Name(), err)
	}
	s := b.newStep(thread, fn, nil, arg("files", files), arg("alias", alias))
	return starlark.None, b.Worker.Act(Context(thread), s, build.Import(s, server, files, fingerprint, alias, description))
}

// imageFiles takes apart what pack_lxd and pack_incus return.
func imageFiles(v starlark.Value) (files []*build.File, fingerprint string, err error) {
	fields, ok := v.(starlark.HasAttrs)
	if !ok {
		return nil, "", fmt.Errorf("got %s, want what pack_lxd or pack_incus returns", v.Type())
	}
	for _, name := range []string{"unified", "metadata", "rootfs", "disk"} {
		if v, _ := fields.Attr(name); v != nil {
			if f, ok := v.(*file); ok {
				files = append(files, f.File)
			}
		}
	}
	if sum, _ := fields.Attr("fingerprint"); sum != nil {
		fingerprint, _ = starlark.AsString(sum)
	}
	if len(files) == 0 {
		return nil, "", fmt.Errorf("got %s without files, want what pack_lxd or pack_incus returns", v.Type())
	}
	return files, fingerprint, nil
}
