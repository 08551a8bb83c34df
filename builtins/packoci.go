package builtins

import (
	"errors"
	"fmt"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/options"
	"imagebuilder/builtins/pack"
)

// pack_oci(root, image, platform, compression="gzip", name="", entrypoint=[], command=[],
// environment={}, user="", directory="", dir="") packs a rootfs as a container image of one
// layer: oci.tar, in the target directory of the run or in dir below it, the archive of an OCI
// layout. docker load, podman load and ctr image import read it, and skopeo copies it into a
// registry, as oci-archive:oci.tar. platform is what it is for, such as "linux/amd64": see
// platform of @stdlib//architectures.star. The layer is compressed as compression says, by
// METHOD or METHOD-LEVEL: gzip, zstd or none. name is its reference, such as
// "registry.example/worker:1", with the tag latest if it has none; without a name, whoever loads
// it gives it one. What a container starts are entrypoint and command, lists of strings, with
// the environment, a dict of strings, as user, "" for root, in directory. It returns the file.
//
// Example:
//
//	pack_oci(root, img, platform = "linux/amd64", command = ["/bin/sh"])
func (b *Words) packOCI(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *rootfs
	var img *image
	var c pack.ContainerConfig
	var entrypoint, command stringList
	var environment stringMap
	var dir string
	o := build.ForContainers(options.InRecipe)
	pairs := argumentsOf([]any{"root", &root, "image", &img, "platform", &c.Platform}, o, "name?", &c.Name, "entrypoint?", &entrypoint,
		"command?", &command, "environment?", &environment, "user?", &c.User, "directory?", &c.Directory, "dir?", &dir)
	if err := unpackArgs(fn, args, kwargs, pairs...); err != nil {
		return nil, err
	}
	if err := checkOptions(fn, o, args, kwargs, namedArgs(kwargs)); err != nil {
		return nil, err
	}
	c.Entrypoint, c.Command, c.Environment = entrypoint, command, environment
	if err := c.Check(); err != nil {
		return nil, Misuse{fmt.Errorf("%s: %w", fn.Name(), err)}
	}
	s := b.newStep(thread, fn, root, arg("image", img.Image), arg("compression", o.Compression.String()), arg("config", c))
	product, err := build.ContainerImage{Image: img.Image, Compression: o.Compression, Config: c, Now: b.Now}.Pack(s, dir)
	if err = errors.Join(err, checkDir(dir)); err != nil {
		return nil, fmt.Errorf("%s: %w", fn.Name(), err)
	}
	root.freeze("it is packed")
	files, err := b.Worker.Make(Context(thread), s, product)
	if err != nil {
		return nil, err
	}
	return &file{files[0]}, nil
}
