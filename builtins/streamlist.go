package builtins

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/options"
	"imagebuilder/streams"
	"imagebuilder/streams/words"
)

// stream_list(tree, streams=[], stream_version="v1", natural_order=False) returns the
// images in the catalogs, by stream and product, the newest version first: a list of
// structs with fingerprint, description, os, release, variant, architecture, type
// ("container" or "virtual-machine"), created (as in "2026-01-02T03:04:00Z", or empty),
// size in bytes, stream, product, version, aliases, requirements, clients (of "incus" and
// "lxd", those that see it), passed_over (why neither does, or empty) and path, the
// directory of the version in the tree. Without streams it is all that the index lists.
// An index or a catalog that cannot be read is an error.
//
// Example:
//
//	for one in stream_list("/srv/images"):
//	    print(one.product, one.version, one.fingerprint)
func (b *Words) streamList(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	list := words.ForList(options.InRecipe)
	c := b.newStreamCall(thread, fn, list)
	if err := c.unpack(args, kwargs, []any{"tree", &c.tree}); err != nil {
		return nil, err
	}
	var images []streams.ListedImage
	err := c.do(func(ctx context.Context, s streams.Site) (err error) {
		images, err = streams.List(ctx, list.Options(s))
		return err
	})
	var values []starlark.Value
	for _, i := range images {
		values = append(values, imageValue(i))
	}
	return starlark.NewList(values), err
}

func imageValue(i streams.ListedImage) starlark.Value {
	created := ""
	if !i.Created.IsZero() {
		created = i.Created.Format(time.RFC3339)
	}
	fields := starlark.StringDict{"size": starlark.MakeInt64(i.Size), "aliases": stringValues(i.Aliases), "clients": stringValues(i.Clients)}
	for name, text := range map[string]string{
		"fingerprint": i.Fingerprint, "description": i.Description, "os": i.OS, "release": i.Release, "variant": i.Variant,
		"architecture": i.Architecture, "type": i.Type, "created": created, "stream": i.Stream, "product": i.Product,
		"version": i.Version, "path": i.Path, "passed_over": i.PassedOver,
	} {
		fields[name] = starlark.String(text)
	}
	requirements := starlark.NewDict(len(i.Requirements))
	for _, key := range slices.Sorted(maps.Keys(i.Requirements)) {
		requirements.SetKey(starlark.String(key), starlark.String(i.Requirements[key])) // strings can always be keys
	}
	fields["requirements"] = requirements
	return newStruct(fields)
}

// stream_add(image, tree, stream="images", distribution="", release="", architecture="",
// variant="", version="", link=False, stream_version="v1") puts an image into the tree of
// an image server as a new version. image is what pack_lxd returns; a list of files: a
// metadata tarball and root file systems, or a unified tarball; or the path of a directory of
// this machine with those, such as an earlier run has left. What is said of the image beside it, its
// packages and where it comes from, is published with it. Files that are cut off,
// and disks that need a backing file, are an error. Product and version are those of the
// metadata unless arguments say otherwise; a version that is given must be
// free. With link, files are linked instead of copied where that is possible. Clients see
// the image after the next stream_build.
//
// It returns a struct with path, the directory of the version in the tree, product,
// version, fingerprints, a list, and existed: whether the tree had the image already and
// nothing was added.
//
// Example:
//
//	packed = pack_lxd(root, img)
//	stream_add(packed, "/srv/images")
func (b *Words) streamAdd(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	add := words.ForAdd(options.InRecipe)
	c := b.newStreamCall(thread, fn, add)
	var image starlark.Value
	if err := c.unpack(args, kwargs, []any{"image", &image, "tree", &c.tree}); err != nil {
		return nil, err
	}
	paths, err := b.addedPaths(thread, image)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fn.Name(), err)
	}
	var added streams.Added
	err = c.do(func(ctx context.Context, s streams.Site) (err error) {
		opts := add.Options(s)
		opts.Files = paths()
		if added, err = streams.Add(ctx, opts); err != nil {
			return fmt.Errorf("cannot add the image: %w", err)
		}
		return nil
	})
	return newStruct(starlark.StringDict{
		"path": starlark.String(added.Path), "product": starlark.String(added.Product), "version": starlark.String(added.Version),
		"fingerprints": stringValues(added.Fingerprints), "existed": starlark.Bool(added.Existed),
	}), err
}

// addedPaths returns the paths of what is to be added, which files have once they are made.
func (b *Words) addedPaths(thread *starlark.Thread, image starlark.Value) (func() []string, error) {
	directory, ok := starlark.AsString(image)
	if !ok {
		files, err := addedFiles(image)
		return func() []string {
			paths := build.Paths(files)
			for _, f := range files {
				paths = append(paths, build.Paths(f.Documents)...)
			}
			return paths
		}, err
	}
	if b.Locate == nil {
		return nil, errors.New("internal error: recipes cannot name local files")
	}
	directory, err := b.Locate(callerFile(thread), directory)
	return func() []string { return []string{directory} }, err
}

// addedFiles returns the files of what pack_lxd returns, or of a list.
func addedFiles(v starlark.Value) ([]*build.File, error) {
	list, ok := v.(starlark.Iterable)
	if !ok {
		files, _, err := imageFiles(v)
		return files, err
	}
	iter := list.Iterate()
	defer iter.Done()
	var files []*build.File
	var x starlark.Value
	for iter.Next(&x) {
		f, ok := x.(*file)
		if !ok {
			return nil, fmt.Errorf("got a list with a %s, want files", x.Type())
		}
		files = append(files, f.File)
	}
	if len(files) == 0 {
		return nil, errors.New("got no files")
	}
	return files, nil
}
