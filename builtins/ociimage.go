package builtins

import (
	"fmt"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/bytesize"
)

// Container images: the value, and the words that find one and put it into a rootfs.

// An ociImage is a container image as it was found. Its attributes are digest and platform.
type ociImage struct{ build.OCIImage }

var _ starlark.HasAttrs = (*ociImage)(nil)

func (i *ociImage) String() string        { return "<oci_image " + i.Source + ">" }
func (i *ociImage) Type() string          { return "oci_image" }
func (i *ociImage) Freeze()               {}
func (i *ociImage) Truth() starlark.Bool  { return true }
func (i *ociImage) Hash() (uint32, error) { return starlark.String(i.Source + i.Found.Digest).Hash() }

func (i *ociImage) Attr(name string) (starlark.Value, error) {
	switch name {
	case "digest":
		return starlark.String(i.Found.Digest), nil
	case "platform":
		return starlark.String(i.Found.Platform), nil
	}
	return nil, nil
}

func (i *ociImage) AttrNames() []string { return []string{"digest", "platform"} }

// layoutPrefix marks the directory of a layout among references.
const layoutPrefix = "oci:"

// oci_image(source, platform, name="") returns the container image that source means at the
// moment: a reference of a registry, [HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST]; "oci:" and the
// directory of an OCI layout; or a file, the archive of one, compressed or not. A layout may
// also be what docker save writes.
//
// platform is the one it must be for, such as "linux/arm64". In a layout with several images,
// name is that of the annotation org.opencontainers.image.ref.name, or one of the tags that
// docker save was given, such as "demo:1".
//
// The digest is that of the manifest for the platform; where docker save has written none, that
// of the configuration.
//
// Registries are asked with the credentials of Docker's configuration and its helpers, by
// https unless they are on this machine. For references without a host DOCKER_REGISTRY_BASE in
// the environment names another registry than Docker's, and DOCKER_REGISTRY_BASE_USER and
// DOCKER_REGISTRY_BASE_PASS who asks it.
//
// Example:
//
//	base = oci_image("debian:trixie", platform = "linux/amd64")
//	unpack_image(root, base)
func (b *Words) ociImage(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var source starlark.Value
	i := new(ociImage)
	if err := unpackArgs(fn, args, kwargs, "source", &source, "platform", &i.Query.Platform, "name?", &i.Query.Name); err != nil {
		return nil, err
	}
	s := b.newStep(thread, fn, nil)
	switch v := source.(type) {
	case *file:
		i.File, i.Source = v.File, v.Name
		s.Args = build.Args{arg("file", v.File)}
	case starlark.String:
		i.Source = string(v)
		s.Args = build.Args{arg("url", i.Source)}
		dir, layout := strings.CutPrefix(i.Source, layoutPrefix)
		if !layout {
			i.Query.Reference = i.Source
			if err := i.Query.Check(); err != nil {
				return nil, Misuse{fmt.Errorf("oci_image: %w", err)}
			}
			break
		}
		path, err := b.Locate(callerFile(thread), dir)
		if err == nil {
			path, err = build.HostPath(path)
		}
		if err != nil {
			return nil, err
		}
		i.Dir = path
		s.Needs = append(s.Needs, build.Need{Name: path, At: s.At})
	default:
		return nil, fmt.Errorf("oci_image: for parameter source: got %s, want a reference or a file", source.Type())
	}
	s.Args = append(s.Args, arg("platform", i.Query.Platform))
	if i.Query.Name != "" {
		s.Args = append(s.Args, arg("name", i.Query.Name))
	}
	var err error
	i.Found, err = build.Ask(Context(thread), b.Worker, s, build.FindImage(i.OCIImage))
	return i, err
}

// unpack_image(root, image, max_size="64GiB", max_entries=4000000) puts the layers of a
// container image onto the rootfs, with owners, extended attributes and device nodes, and
// takes away what they say is removed. Every blob and every layer must have its digest. The
// settings of the image, such as its entry point, have no meaning here.
//
// Example:
//
//	unpack_image(root, oci_image("alpine:3.22", platform = "linux/amd64"))
func (b *Words) unpackImage(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *rootfs
	var i *ociImage
	size, entries := defaultMaxSize, defaultMaxEntries
	if err := unpackArgs(fn, args, kwargs, "root", &root, "image", &i, "max_size?", &size, "max_entries?", &entries); err != nil {
		return nil, err
	}
	if err := root.checkMutable("unpack into"); err != nil {
		return nil, err
	}
	var bound bytesize.Size
	if err := bound.Set(size); err != nil {
		return nil, fmt.Errorf("unpack_image: max_size: %w", err)
	}
	s := b.newStep(thread, fn, root, arg("image", i.Found.Digest))
	blobs, err := b.Worker.Make(Context(thread), s, build.Blobs(i.OCIImage))
	if err != nil {
		return nil, err
	}
	change := build.UnpackImage(i.OCIImage, blobs, build.Bounds{Size: int64(bound), Entries: int64(entries)})
	return starlark.None, b.Worker.Change(Context(thread), s, change)
}
