package streams

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/streams/catalog"
)

// fill puts the files into the hidden directory, hashes them and writes their
// SHA256SUMS, all of it durable.
func (a *adder) fill(ctx context.Context, hidden string) (*version, error) {
	if a.unified != nil {
		if err := split(ctx, a.site, hidden, a.unified.file, a.unified.content); err != nil {
			return nil, err
		}
	} else {
		for _, s := range a.sources {
			if err := a.place(ctx, s, path.Join(hidden, s.as)); err != nil {
				return nil, err
			}
		}
	}
	v, err := a.look(hidden)
	if err != nil {
		return nil, err
	}
	if _, err := hashVersion(ctx, a.site, hidden, v); err != nil {
		return nil, err
	}
	if err := a.site.writeSums(path.Join(hidden, sumsName), v); err != nil {
		return nil, err
	}
	for _, f := range v.files {
		if err := a.site.syncFile(path.Join(hidden, f.name)); err != nil {
			return nil, err
		}
	}
	return v, a.site.sync(hidden)
}

// writeSums writes the hashes of a version's items.
func (s *site) writeSums(name string, v *version) error {
	return s.write(name, func(w *bufio.Writer) error {
		for _, f := range v.files {
			if f.class.isItem() {
				fmt.Fprintf(w, "%s  %s\n", f.sum, f.name) // the writer keeps its error
			}
		}
		return nil
	})
}

// look returns a version as it is on the disk.
func (a *adder) look(dir string) (*version, error) {
	f, err := a.site.openDir(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sc := &scanner{site: a.site}
	return sc.readVersion(f, dir, strings.TrimPrefix(path.Base(dir), "."), nil, new(look))
}

// place links or copies a file into the tree. A link that cannot be made is a copy.
func (a *adder) place(ctx context.Context, s source, name string) error {
	if a.opts.Link && a.link(s, name) == nil {
		return nil
	}
	out, err := a.site.create(name)
	if err != nil {
		return err
	}
	return errors.Join(copyAll(ctx, out, s.file), out.close())
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
	return a.site.change("link", name, func(dirfd int, base string) error {
		return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", s.file.Fd()), dirfd, base, unix.AT_SYMLINK_FOLLOW)
	})
}

// copyAll copies a whole file. The blocks are shared where the file system can.
func copyAll(ctx context.Context, out *output, in *os.File) error {
	if err := out.site.allow("write", out.file.Name()); err != nil {
		return err
	}
	if unix.IoctlFileClone(int(out.file.Fd()), int(in.Fd())) == nil {
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
		_, err := io.CopyN(out.file, in, piece) // inside the kernel
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// syncFile makes the content of a file durable.
func (s *site) syncFile(name string) error {
	if err := s.allow("sync", name); err != nil {
		return err
	}
	f, err := s.open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// prints returns the fingerprints of a version's images, sorted.
func (v *version) prints() []string {
	var list []string
	for c := range ftypes {
		if root := v.first(c); root != nil {
			for _, print := range v.fingerprints(root) {
				list = append(list, print.String())
			}
		}
	}
	slices.Sort(list)
	return list
}

// twin returns where the images are in the tree already: listed in a catalog, or in a
// version of the same product that is waiting for a build.
func (a *adder) twin(ctx context.Context, dir string, v *version) (*Added, error) {
	prints := v.prints()
	if found := a.listedTwin(prints); found != nil {
		return found, nil
	}
	entries, err := a.site.list(dir)
	if err != nil {
		return nil, err
	}
	leaving := a.readLeaving()
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if _, leaves := leaving[name]; leaves || !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		same, err := a.same(ctx, name, v)
		if err != nil {
			return nil, err
		}
		if same {
			return &Added{name, a.name.ID(), e.Name(), prints, true}, nil
		}
	}
	return nil, nil
}

// listedTwin looks for a version with all of the images in the catalogs. One that
// cannot be read lists nothing.
func (a *adder) listedTwin(prints []string) (found *Added) {
	for _, stream := range append(a.indexed(), a.Streams...) {
		a.eachProduct(stream, func(id string, c *catalog.Product) error {
			for name, version := range c.Versions {
				dir := path.Join(c.Name().Dir(stream), name)
				if _, err := a.site.stat(dir); err == nil && hasAll(version, prints) {
					found = &Added{dir, id, name, prints, true}
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
func (a *adder) same(ctx context.Context, dir string, v *version) (bool, error) {
	other, err := a.look(dir)
	if err != nil {
		return false, err
	}
	for _, f := range v.files {
		if o := other.find(f.name); f.class.isItem() && (o == nil || o.stamp.size != f.stamp.size) {
			return false, nil
		}
	}
	if _, err := hashVersion(ctx, a.site, dir, other); err != nil {
		return false, err
	}
	for _, f := range v.files {
		if f.class.isItem() && other.find(f.name).sum != f.sum {
			return false, nil
		}
	}
	return true, nil
}
