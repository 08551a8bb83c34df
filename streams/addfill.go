package streams

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/site"
)

// This file fills the hidden directory of a version that is being added, and looks whether
// the site has the image already. Until all of it is on the disk nobody sees any of it.

// fill puts the files into the hidden directory, hashes them and writes their
// SHA256SUMS, all of it durable.
func (a *adder) fill(ctx context.Context, hidden catalog.Location) (*inventory.FoundVersion, error) {
	for _, s := range a.sources {
		fill := func() error { return a.put(ctx, s, hidden.File(s.as)) }
		if s.unified() {
			fill = func() error { return split(ctx, a.files, hidden, s.file, s.content) }
		}
		if err := fill(); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name(), err)
		}
	}
	for _, f := range a.beside {
		name := hidden.File(filepath.Base(f.Name()))
		if err := errors.Join(a.put(ctx, addedFile{file: f}, name), a.files.Sync(name)); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	v, err := inventory.LookAt(a.files, hidden)
	if err != nil {
		return nil, err
	}
	if _, err := inventory.HashVersion(ctx, a.files, hidden, v); err != nil {
		return nil, err
	}
	if err := a.checkSums(ctx, v); err != nil {
		return nil, err
	}
	if err := inventory.WriteSums(a.files, hidden, v); err != nil {
		return nil, err
	}
	for _, f := range v.Files {
		if err := a.files.Sync(hidden.File(f.Name)); err != nil {
			return nil, err
		}
	}
	return v, a.files.Sync(hidden.Path())
}

// put links or copies a file into the tree. A link that cannot be made is a copy.
func (a *adder) put(ctx context.Context, s addedFile, name string) error {
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
func (a *adder) link(s addedFile, name string) error {
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
func (a *adder) twin(ctx context.Context, v *inventory.FoundVersion) (*Added, error) {
	prints := v.Prints()
	if found := a.listedTwin(prints); found != nil {
		return found, nil
	}
	entries, err := a.files.List(a.place.Of("").Path())
	if err != nil {
		return nil, err
	}
	leaving := inventory.ReadLeaving(a.files)
	for _, e := range entries {
		place := a.place.Of(e.Name())
		if leaving.Has(place) || !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
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
		a.catalogs.Each(stream, func(id string, c *catalog.Product) error {
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
		if !slices.ContainsFunc(images, func(i catalog.Pairing) bool { return i.Fingerprint == print }) {
			return false
		}
	}
	return true
}

// same tells whether a version on the disk has the items of another. Only what is of
// the same size is read.
func (a *adder) same(ctx context.Context, place catalog.Location, v *inventory.FoundVersion) (bool, error) {
	other, err := inventory.LookAt(a.files, place)
	if err != nil {
		return false, err
	}
	for _, f := range v.Files {
		if o := other.Find(f.Name); f.Class.IsItem() && (o == nil || o.Stamp.Size != f.Stamp.Size) {
			return false, nil
		}
	}
	if _, err := inventory.HashVersion(ctx, a.files, place, other); err != nil {
		return false, err
	}
	for _, f := range v.Files {
		if f.Class.IsItem() && other.Find(f.Name).Sum != f.Sum {
			return false, nil
		}
	}
	return true, nil
}
