package streams

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// fill puts the files into the hidden directory, hashes them and writes their
// SHA256SUMS, all of it durable.
func (a *adder) fill(ctx context.Context, hidden catalog.Place) (*version, error) {
	if a.unified != nil {
		if err := split(ctx, a.files, hidden, a.unified.file, a.unified.content); err != nil {
			return nil, err
		}
	} else {
		for _, s := range a.sources {
			if err := a.put(ctx, s, hidden.File(s.as)); err != nil {
				return nil, err
			}
		}
	}
	v, err := lookAt(a.files, hidden)
	if err != nil {
		return nil, err
	}
	if _, err := hashVersion(ctx, a.files, hidden, v); err != nil {
		return nil, err
	}
	if err := writeSums(a.files, hidden, v); err != nil {
		return nil, err
	}
	for _, f := range v.files {
		if err := a.files.Sync(hidden.File(f.name)); err != nil {
			return nil, err
		}
	}
	return v, a.files.Sync(hidden.Path())
}

// put links or copies a file into the tree. A link that cannot be made is a copy.
func (a *adder) put(ctx context.Context, s source, name string) error {
	if a.opts.Link && a.link(s, name) == nil {
		return nil
	}
	out, err := a.files.Create(name, site.FileMode)
	if err != nil {
		return err
	}
	return errors.Join(copyAll(ctx, out, s.file), out.Close())
}

// link gives an open file a name in the tree. A file that others may not read would
// not be served.
func (a *adder) link(s source, name string) error {
	st, err := s.file.Stat()
	if err != nil {
		return err
	}
	if st.Mode().Perm()&0o444 != 0o444 {
		return errors.New("others may not read it")
	}
	return a.files.Change("link", name, func(dirfd int, base string) error {
		return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", s.file.Fd()), dirfd, base, unix.AT_SYMLINK_FOLLOW)
	})
}

// copyAll copies a whole file. The blocks are shared where the file system can.
func copyAll(ctx context.Context, out *dirfd.Writer, in *os.File) error {
	if out.Clone(in) == nil {
		return nil
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	const piece = 64 << 20 // between two looks at the context
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		_, err := io.CopyN(out, in, piece) // inside the kernel
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// twin returns where the images are in the tree already: listed in a catalog, or in a
// version of the same product that is waiting for a build.
func (a *adder) twin(ctx context.Context, v *version) (*Added, error) {
	prints := v.prints()
	if found := a.listedTwin(prints); found != nil {
		return found, nil
	}
	entries, err := a.files.List(a.place.Of("").Path())
	if err != nil {
		return nil, err
	}
	leaving := readLeaving(a.files)
	for _, e := range entries {
		place := a.place.Of(e.Name())
		if leaving.has(place) || !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		same, err := a.same(ctx, place, v)
		if err != nil {
			return nil, err
		}
		if same {
			twin := addedAt(place, prints, true)
			return &twin, nil
		}
	}
	return nil, nil
}

// listedTwin looks for a version with all of the images in the catalogs. One that
// cannot be read lists nothing.
func (a *adder) listedTwin(prints []string) (found *Added) {
	for _, stream := range append(a.indexed(), a.Streams...) {
		a.catalogs.each(stream, func(id string, c *catalog.Product) error {
			for name, version := range c.Versions {
				place := c.Name().In(stream).Of(name)
				if _, err := a.files.Lstat(place.Path()); err == nil && hasAll(version, prints) {
					twin := addedAt(place, prints, true)
					found = &twin
				}
			}
			return nil
		}, nil)
	}
	return found
}

func hasAll(v catalog.Version, prints []string) bool {
	images := v.Images()
	for _, print := range prints {
		if !slices.ContainsFunc(images, func(i catalog.Image) bool { return i.Fingerprint == print }) {
			return false
		}
	}
	return true
}

// same tells whether a version on the disk has the items of another. Only what is of
// the same size is read.
func (a *adder) same(ctx context.Context, place catalog.Place, v *version) (bool, error) {
	other, err := lookAt(a.files, place)
	if err != nil {
		return false, err
	}
	for _, f := range v.files {
		if o := other.find(f.name); f.class.isItem() && (o == nil || o.stamp.Size != f.stamp.Size) {
			return false, nil
		}
	}
	if _, err := hashVersion(ctx, a.files, place, other); err != nil {
		return false, err
	}
	for _, f := range v.files {
		if f.class.isItem() && other.find(f.name).sum != f.sum {
			return false, nil
		}
	}
	return true, nil
}
