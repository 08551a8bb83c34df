package inventory

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

// The other side of a site: what its catalogs say is there. It is compared with what is, and
// trusted no further than package catalog checks it.

// Catalogs are what a site lists, in one stream version: a catalog for each stream, and
// the index of them. They may be of another maker, or damaged.
type Catalogs struct {
	Files   *site.Files
	Version string // of the streams
}

const IndexName = "index.json"

// Dir is where the catalogs are.
func (c Catalogs) Dir() string { return path.Join(site.MetaDir, c.Version) }

// Path returns that of a stream's catalog.
func (c Catalogs) Path(stream string) string { return path.Join(c.Dir(), stream+".json") }

// IndexPath returns that of the index.
func (c Catalogs) IndexPath() string { return path.Join(c.Dir(), IndexName) }

// CheckFiles refuses a directory of catalogs with a device, a pipe or the like in it: it is
// no catalog of anybody's, and to read it may have no end.
func (c Catalogs) CheckFiles() error {
	entries, err := c.Files.List(c.Dir())
	if err != nil {
		return nil // those who read the catalogs say why
	}
	const strange = fs.ModeDevice | fs.ModeNamedPipe | fs.ModeSocket | fs.ModeCharDevice | fs.ModeIrregular
	for _, e := range entries {
		if e.Type()&strange != 0 {
			return fmt.Errorf("%s: %w; remove it", path.Join(c.Dir(), e.Name()), site.ErrNotRegular)
		}
	}
	return nil
}

// Index returns the index as it is, without entries if there is none.
func (c Catalogs) Index() (*catalog.Index, error) {
	f, err := c.Files.OpenRegular(c.IndexPath())
	if errors.Is(err, fs.ErrNotExist) {
		return new(catalog.Index), nil
	}
	if err != nil {
		return new(catalog.Index), err
	}
	defer f.Close()
	index, err := catalog.ReadIndex(f)
	if err != nil {
		return new(catalog.Index), readError(c.IndexPath(), err)
	}
	return index, nil
}

// Each reads a stream's catalog. Products that cannot be trusted go to bad, if it is
// given, and are passed over.
func (c Catalogs) Each(stream string, fn func(string, *catalog.Product) error, bad func(*catalog.InvalidError)) error {
	return EachProduct(c.Files, c.Path(stream), stream, fn, bad)
}

// Seen reads the catalog at a path as clients do, with what another tool has listed.
func (c Catalogs) Seen(file, stream string, fn func(string, *catalog.Product) error, bad func(*catalog.InvalidError)) error {
	f, err := c.Files.OpenRegular(file)
	if err != nil {
		return err
	}
	defer f.Close()
	r := catalog.NewReader(f, stream)
	r.Foreign = true
	return ReadProducts(r, file, fn, bad)
}

// EachProduct is each for a catalog in another place.
func EachProduct(files *site.Files, file, stream string, fn func(string, *catalog.Product) error, bad func(*catalog.InvalidError)) error {
	f, err := files.OpenRegular(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return ReadProducts(catalog.NewReader(f, stream), file, fn, bad)
}

// ReadProducts reads a catalog to its end.
func ReadProducts(r *catalog.Reader, file string, fn func(string, *catalog.Product) error, bad func(*catalog.InvalidError)) error {
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

// Unbuilt explains the error of a catalog that is not there.
func (c Catalogs) Unbuilt(file string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("cannot read %s: %w; build makes it", path.Join(c.Files.Root, file), dirfd.Cause(err))
}

// A Listing is which versions a catalog lists.
type Listing map[catalog.Name]map[string]bool

// Add notes that a version is listed.
func (l Listing) Add(p catalog.Location) {
	if l[p.Product] == nil {
		l[p.Product] = make(map[string]bool)
	}
	l[p.Product][p.Version] = true
}

// Has tells whether a version is.
func (l Listing) Has(p catalog.Location) bool { return l[p.Product][p.Version] }

// Versions returns those of the product of this id, nil if it is not in it.
func (l Listing) Versions(id string) map[string]bool {
	name, err := catalog.ParseName(id)
	if err != nil {
		return nil
	}
	return l[name]
}

// Count returns how many versions are.
func (l Listing) Count() int {
	n := 0
	for _, versions := range l {
		n += len(versions)
	}
	return n
}

// Without returns what is not in the other listing, sorted; both are of the same stream.
func (l Listing) Without(other Listing, stream string) []catalog.Location {
	var list []catalog.Location
	for name, versions := range l {
		for version := range versions {
			if place := name.In(stream).Of(version); !other.Has(place) {
				list = append(list, place)
			}
		}
	}
	slices.SortFunc(list, catalog.Location.Compare)
	return list
}

// Listing returns what a stream's catalog lists, nothing if there is none, and the products
// in it that cannot be understood.
func (c Catalogs) Listing(stream string) (Listing, []*catalog.InvalidError, error) {
	l := make(Listing)
	var foreign []*catalog.InvalidError
	err := c.Each(stream, func(id string, p *catalog.Product) error {
		for version := range p.Versions {
			l.Add(p.Name().In(stream).Of(version))
		}
		return nil
	}, func(bad *catalog.InvalidError) { foreign = append(foreign, bad) })
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return l, foreign, err
}
