package builtins

import (
	"errors"
	"fmt"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/unpack"
)

// How much an archive may unpack to unless a recipe says otherwise.
const (
	defaultMaxSize    = "64GiB"
	defaultMaxEntries = 4_000_000
)

// unpack(root, file, into="/", strip=0, only=[], exclude=[], within=[], partition=0,
// max_size="64GiB", max_entries=4000000) unpacks a file into a directory of the rootfs, with
// owners, device nodes, extended attributes and capabilities as far as its format has them.
// Device nodes that would be below /dev are left out; others are an error without root.
//
// What a file is, its first bytes say: a tar archive of any compression, a package of
// Slackware or Plamo among them; a zip or cpio archive; a package of RPM or Debian; an
// ISO 9660 medium; a squashfs, ext4, btrfs, XFS or FAT image; or the image of a disk with one
// of these, plain, compressed or qcow2.
//
// strip drops leading elements of names, and what has no more. only and exclude are patterns
// of names in the archive, in which * stands for anything, also for slashes, and the name of a
// directory for all that is in it; of only, one at least must match something.
//
// within names images inside the file, the outermost first: each is a path, or a list of
// paths of which the first that is there counts, "" being the image it would be in. partition
// is that of the disk: 1 is the first, -1 the last, and 0 the only one with a file system.
//
// An archive that holds more bytes than max_size, or more files and directories than
// max_entries, is an error; so is an image in it that is larger than max_size.
//
// Example:
//
//	iso = download("https://example.org/boot.iso", trust = trust("https://example.org"))
//	unpack(root, iso, within = ["images/install.img"], exclude = ["usr/share/doc"])
func (b *Words) unpack(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *rootfs
	var archive *file
	var only, exclude stringList
	var inside images
	into, partition, entries, size := "/", 0, defaultMaxEntries, defaultMaxSize
	var o unpack.Options
	if err := unpackArgs(fn, args, kwargs, "root", &root, "file", &archive, "into?", &into, "strip?", &o.Strip,
		"only?", &only, "exclude?", &exclude, "within?", &inside, "partition?", &partition,
		"max_size?", &size, "max_entries?", &entries); err != nil {
		return nil, err
	}
	if err := root.checkMutable("unpack into"); err != nil {
		return nil, err
	}
	var bound bytesize.Size
	if err := bound.Set(size); err != nil {
		return nil, fmt.Errorf("unpack: max_size: %w", err)
	}
	switch {
	case o.Strip < 0:
		return nil, errors.New("unpack: strip is negative")
	case partition < -1:
		return nil, fmt.Errorf("unpack: there is no partition %d", partition)
	case entries <= 0 || bound <= 0:
		return nil, errors.New("unpack: max_size and max_entries must be above 0")
	}
	o.Only, o.Exclude = only, exclude
	s := b.newStep(thread, fn, root, arg("file", archive.File), arg("into", into), arg("strip", o.Strip))
	if len(only) > 0 {
		s.Args = append(s.Args, arg("only", o.Only))
	}
	if len(exclude) > 0 {
		s.Args = append(s.Args, arg("exclude", o.Exclude))
	}
	if len(inside) > 0 {
		s.Args = append(s.Args, arg("within", [][]string(inside)))
	}
	if partition != 0 {
		s.Args = append(s.Args, arg("partition", partition))
	}
	if size != defaultMaxSize || entries != defaultMaxEntries {
		s.Args = append(s.Args, arg("max_size", size), arg("max_entries", entries))
	}
	opening := *s
	opening.Needs = build.OpenedNeeds(archive.File, len(inside) > 0)
	bounds := build.Bounds{Size: int64(bound), Entries: int64(entries)}
	content, err := b.make(thread, &opening, build.Opened(archive.File, inside, partition, bounds))
	if err != nil {
		return nil, err
	}
	change, needs, err := build.Unpack(content, into, o, bounds)
	if err != nil {
		return nil, fmt.Errorf("cannot unpack %s: %w", archive.Name, err)
	}
	s.Needs = needs
	return starlark.None, b.Worker.Change(Context(thread), s, change)
}

// images are paths of images, each inside the one before: a path, or a list of which one
// counts.
type images [][]string

func (l *images) Unpack(v starlark.Value) error {
	list, ok := v.(starlark.Iterable)
	if _, isDict := v.(*starlark.Dict); !ok || isDict {
		return fmt.Errorf("got %s, want a list of paths", v.Type())
	}
	iter := list.Iterate()
	defer iter.Done()
	*l = images{}
	var x starlark.Value
	for i := 0; iter.Next(&x); i++ {
		paths := stringList{}
		if path, ok := starlark.AsString(x); ok {
			paths = stringList{path}
		} else if err := paths.Unpack(x); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
		if len(paths) == 0 || paths[0] == "" {
			return fmt.Errorf("element %d names no path", i)
		}
		*l = append(*l, paths)
	}
	return nil
}
