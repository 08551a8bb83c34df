package streams

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// catalogs are what a site lists, in one stream version: a catalog for each stream, and
// the index of them. They may be of another maker, or damaged.
type catalogs struct {
	files   *site.Files
	version string // of the streams
}

const indexName = "index.json"

// dir is where the catalogs are.
func (c catalogs) dir() string { return path.Join(site.MetaDir, c.version) }

// path returns that of a stream's catalog.
func (c catalogs) path(stream string) string { return path.Join(c.dir(), stream+".json") }

func (c catalogs) indexPath() string { return path.Join(c.dir(), indexName) }

// index returns the index as it is, without entries if there is none.
func (c catalogs) index() (*catalog.Index, error) {
	f, err := c.files.Open(c.indexPath())
	if errors.Is(err, fs.ErrNotExist) {
		return new(catalog.Index), nil
	}
	if err != nil {
		return new(catalog.Index), err
	}
	defer f.Close()
	index, err := catalog.ReadIndex(f)
	if err != nil {
		return new(catalog.Index), readError(c.indexPath(), err)
	}
	return index, nil
}

// each reads a stream's catalog. Products that cannot be trusted go to bad, if it is
// given, and are passed over.
func (c catalogs) each(stream string, fn func(string, *catalog.Product) error, bad func(*catalog.InvalidError)) error {
	return eachProduct(c.files, c.path(stream), stream, fn, bad)
}

// eachProduct is each for a catalog in another place.
func eachProduct(files *site.Files, file, stream string, fn func(string, *catalog.Product) error, bad func(*catalog.InvalidError)) error {
	f, err := files.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return readProducts(catalog.NewReader(f, stream), file, fn, bad)
}

// readProducts reads a catalog to its end.
func readProducts(r *catalog.Reader, file string, fn func(string, *catalog.Product) error, bad func(*catalog.InvalidError)) error {
	for {
		id, p, err := r.Next()
		var invalid *catalog.InvalidError
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &invalid):
			if bad != nil {
				bad(invalid)
			}
			continue
		case err != nil:
			return readError(file, err)
		}
		if err := fn(id, p); err != nil {
			return err
		}
	}
}

// readError says which file an error is about, unless it says so itself.
func readError(file string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return err
	}
	return &fs.PathError{Op: "read", Path: file, Err: err}
}

// unbuilt explains the error of a catalog that is not there.
func (c catalogs) unbuilt(stream string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("cannot read %s: %w; build makes it", path.Join(c.files.Root, c.path(stream)), dirfd.Cause(err))
}

// A listing is which versions a catalog lists.
type listing map[catalog.Name]map[string]bool

func (l listing) add(p catalog.Place) {
	if l[p.Product] == nil {
		l[p.Product] = make(map[string]bool)
	}
	l[p.Product][p.Version] = true
}

func (l listing) has(p catalog.Place) bool { return l[p.Product][p.Version] }

func (l listing) count() int {
	n := 0
	for _, versions := range l {
		n += len(versions)
	}
	return n
}

// without returns what is not in the other listing, sorted; both are of the same stream.
func (l listing) without(other listing, stream string) []catalog.Place {
	var list []catalog.Place
	for name, versions := range l {
		for version := range versions {
			if place := name.In(stream).Of(version); !other.has(place) {
				list = append(list, place)
			}
		}
	}
	slices.SortFunc(list, catalog.Place.Compare)
	return list
}

// listing returns what a stream's catalog lists; nothing if there is none. Products that
// cannot be trusted do not count.
func (c catalogs) listing(stream string) (listing, error) {
	l := make(listing)
	err := c.each(stream, func(id string, p *catalog.Product) error {
		for version := range p.Versions {
			l.add(p.Name().In(stream).Of(version))
		}
		return nil
	}, nil)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return l, err
}
