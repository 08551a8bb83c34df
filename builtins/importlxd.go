package builtins

import (
	"fmt"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
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
	var image starlark.Value
	var alias, description string
	if err := unpackArgs(fn, args, kwargs, "image", &image, "alias?", &alias, "description?", &description); err != nil {
		return nil, err
	}
	files, fingerprint, err := imageFiles(image)
	if err != nil {
		return nil, fmt.Errorf("import_lxd: %w", err)
	}
	s := b.newStep(thread, fn, nil, arg("files", files), arg("alias", alias))
	return starlark.None, b.Worker.Act(Context(thread), s, build.ImportLXD(s, files, fingerprint, alias, description))
}

// imageFiles takes apart what pack_lxd returns.
func imageFiles(v starlark.Value) (files []*build.File, fingerprint string, err error) {
	fields, ok := v.(starlark.HasAttrs)
	if !ok {
		return nil, "", fmt.Errorf("got %s, want what pack_lxd returns", v.Type())
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
		return nil, "", fmt.Errorf("got %s without files, want what pack_lxd returns", v.Type())
	}
	return files, fingerprint, nil
}
