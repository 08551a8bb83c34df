package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/magic"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/unpack"
)

// The way from a file to the archive or file system in it that is to be unpacked: through
// compressions, disk images, partitions, and images that lie in other images. What is found
// on the way is kept in the store, known by what it came from, and so found once.

// Opened makes the file to unpack. Of within each element are the paths, of which the first
// that is there counts, of an image inside the one before; a path "" is that itself. A
// partition is that of the first image with a table of them; see [unpack.Choose]. No file on
// the way may be larger than the bounds say.
func Opened(file *File, within [][]string, partition int, bounds Bounds) Product {
	name := file.Name
	if len(within) > 0 {
		name = path.Base(within[len(within)-1][0])
	}
	return Product{
		Files:   []*File{{Name: name}},
		Unshown: true,
		Do: func(ctx context.Context, b *Builder) ([]*File, error) {
			f, o := file, opener{b, bounds.Size}
			for _, paths := range within {
				var err error
				if f, err = o.settle(ctx, f, partition); err != nil {
					return nil, err
				}
				if f, err = o.member(ctx, f, paths); err != nil {
					return nil, err
				}
			}
			f, err := o.settle(ctx, f, partition)
			return []*File{f}, err
		},
	}
}

// OpenedNeeds are what Opened is likely to need of the host, by the name of the file.
func OpenedNeeds(file *File, within bool) []Need {
	var needs []Need
	if within {
		needs = append(needs, Need{Name: "bsdtar"})
	}
	for _, program := range unpack.GuessOpen(file.Name) {
		needs = append(needs, Need{Name: program})
	}
	return needs
}

// An opener makes files of what is in others.
type opener struct {
	*Builder
	max int64 // size of each, in bytes
}

// settle goes on from a disk image, compressed or not, to its partition, and from a package
// of Debian to its archive, until there is something that can be unpacked.
func (o opener) settle(ctx context.Context, f *File, partition int) (*File, error) {
	for {
		format, err := unpack.Detect(f.path)
		switch {
		case err != nil:
			return nil, fmt.Errorf("cannot unpack %s: %w", f.Name, err)
		case format.Archive():
			return f, nil
		case format.Packed != "":
			f, err = o.decompressed(ctx, f, format.Packed)
		case format.Kind == magic.Qcow2:
			f, err = o.raw(ctx, f)
		case format.Kind == magic.Deb:
			name := f.Name
			if f, err = o.member(ctx, f, []string{"data.tar*"}); err == nil {
				f = f.Renamed(name) // by which people know it
			}
		default:
			f, err = o.partition(ctx, f, partition)
		}
		if err != nil {
			return nil, err
		}
	}
}

// contentName is what a file is called that was found in another.
const contentName = "content"

// inner returns the file that fill puts into a directory, by the name contentName. It is made
// of f as how says.
func (o opener) inner(ctx context.Context, f *File, name string, how any, fill func(dir string) error) (*File, error) {
	text, err := json.Marshal(how)
	if err != nil {
		return nil, err
	}
	st := layer.Origin{
		Name:    "open",
		Inputs:  []layer.Input{{Name: "sha256", Value: f.SHA256}, {Name: "how", Value: string(text)}},
		Summary: name,
		Intact:  stillDescribed,
		Check:   Change{Reads: []*File{f}}.unchanged, // it may be a file of the user's
	}
	e, _, err := o.Store.Get(ctx, layer.Base{}, st, func(dir string) error {
		err := fill(dir)
		if err != nil {
			return errors.Join(err, forget([]*File{f}))
		}
		name := contentName
		if _, err := os.Lstat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			name = unpack.Same
		}
		return describe(dir, name)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", f.Name, err)
	}
	inner, err := described(e.Data())
	if err == nil && inner.Size > o.max { // it was made for somebody who allows more
		err = fmt.Errorf("cannot open %s: %w", f.Name, o.tooLarge())
	}
	if err != nil {
		return nil, err
	}
	return inner.Renamed(name), nil
}

// places are where the programs find the file, and where they put theirs.
var places = unpack.Places{
	File: path.Join(sandbox.FilesDir, "archive"), Tree: path.Join(sandbox.FilesDir, "tree"), Out: "/tmp/out",
}

// open runs a script that makes the content of a file of the host.
func (o opener) open(ctx context.Context, f *File, fstype, script, dir string) error {
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o700); err != nil {
		return err
	}
	mounts := []sandbox.Mount{{At: places.File, Source: f.path}, {At: places.Out, Source: out, Writable: true}}
	if fstype != "" {
		mounts = append(mounts, sandbox.Mount{At: places.Tree, Source: f.path, FileSystem: fstype})
	}
	spec := sandbox.Spec{Mounts: mounts, NoSync: true, NoNet: true}
	err := sandbox.Run(ctx, spec, sandbox.Programs{List: []sandbox.Program{{Script: script}}, Env: host.Environ(nil)}, io.Discard)
	var exit *host.ExitError
	if errors.As(err, &exit) && exit.Err.Error() == unpack.TooLarge {
		return o.tooLarge()
	}
	if err != nil {
		return err
	}
	for _, name := range []string{contentName, unpack.Same} {
		st, err := os.Lstat(filepath.Join(out, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case !st.Mode().IsRegular(): // a link would lead to the host
			return errors.New("it is no regular file")
		}
		if err := os.Rename(filepath.Join(out, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return os.RemoveAll(out)
}

func (o opener) tooLarge() error {
	return tooMuch(fmt.Errorf("%w: %s", sandbox.ErrTooMuch, bytesize.Size(o.max)))
}

func (o opener) decompressed(ctx context.Context, f *File, by magic.Kind) (*File, error) {
	programs := unpack.Decompressor(by)
	if err := installed(programs); err != nil {
		return nil, err
	}
	return o.inner(ctx, f, unpack.Stem(f.Name), "decompressed", func(dir string) error {
		return o.open(ctx, f, "", unpack.Decompress(places, by, o.max), dir)
	})
}

func (o opener) raw(ctx context.Context, f *File) (*File, error) {
	if err := installed([]string{"qemu-img"}); err != nil {
		return nil, err
	}
	file, err := os.Open(f.path)
	if err == nil {
		err = errors.Join(unpack.CheckQcow2(file), file.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", f.Name, err)
	}
	return o.inner(ctx, f, unpack.Stem(f.Name), "raw", func(dir string) error {
		return o.open(ctx, f, "", unpack.Raw(places, o.max), dir)
	})
}

// member returns the first of the files in an archive or a file system that is there.
func (o opener) member(ctx context.Context, f *File, paths []string) (*File, error) {
	format, err := unpack.Detect(f.path)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", f.Name, err)
	}
	if err := installed(format.MemberPrograms()); err != nil {
		return nil, err
	}
	inner, err := o.inner(ctx, f, path.Base(paths[0]), append([]string{"member"}, paths...), func(dir string) error {
		err := o.open(ctx, f, format.MemberFileSystem(), format.Member(places, paths, o.max), dir)
		var exit *host.ExitError
		if errors.As(err, &exit) && exit.Err.Error() == unpack.NotThere {
			err = fmt.Errorf("there is no %s in it", strings.Join(paths, " or "))
		}
		return err
	})
	if err == nil && filepath.Base(inner.path) == unpack.Same {
		return f, nil
	}
	return inner, err
}

// partition returns a partition of a disk image as a file.
func (o opener) partition(ctx context.Context, f *File, number int) (*File, error) {
	disk, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer disk.Close()
	list, err := unpack.Partitions(disk, f.Size)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", f.Name, err)
	}
	p, err := unpack.Choose(list, number)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", f.Name, err)
	}
	if p.Kind == magic.Disk {
		return nil, fmt.Errorf("cannot open %s: its partition %d is a disk again", f.Name, p.Number)
	}
	name := fmt.Sprintf("%s, partition %d", f.Name, p.Number)
	return o.inner(ctx, f, name, []any{"partition", p.Start, p.Size}, func(dir string) error {
		return unpack.CopyRange(ctx, filepath.Join(dir, contentName), disk, p.Start, p.Size)
	})
}
