package streams

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"imagebuilder/streams/catalog"
)

// A listing is which versions a catalog lists.
type listing map[catalog.Name]map[string]bool

func (l listing) add(n catalog.Name, version string) {
	if l[n] == nil {
		l[n] = make(map[string]bool)
	}
	l[n][version] = true
}

func (l listing) count() int {
	n := 0
	for _, versions := range l {
		n += len(versions)
	}
	return n
}

// A listed is one version that a catalog lists.
type listed struct {
	product catalog.Name
	version string
}

// dir returns the directory of a version, from the root.
func (l listed) dir(stream string) string { return path.Join(l.product.Dir(stream), l.version) }

// without returns what is not in the other listing, sorted.
func (l listing) without(other listing) []listed {
	var list []listed
	for name, versions := range l {
		for version := range versions {
			if !other[name][version] {
				list = append(list, listed{name, version})
			}
		}
	}
	slices.SortFunc(list, func(a, b listed) int {
		return cmp.Or(strings.Compare(a.product.ID(), b.product.ID()), strings.Compare(a.version, b.version))
	})
	return list
}

// readListing returns what a stream's catalog lists; nothing if there is none.
// Products that cannot be trusted do not count.
func (w *work) readListing(stream string) (listing, error) {
	l := make(listing)
	err := w.eachProduct(stream, func(id string, p *catalog.Product) error {
		for version := range p.Versions {
			l.add(p.Name(), version)
		}
		return nil
	}, nil)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return l, err
}

// eachProduct reads a stream's catalog. Products that cannot be trusted go to bad,
// if it is given, and are passed over.
func (w *work) eachProduct(stream string, fn func(string, *catalog.Product) error, bad func(*catalog.InvalidError)) error {
	return w.eachProductIn(w.catalogPath(stream), stream, fn, bad)
}

func (w *work) eachProductIn(file, stream string, fn func(string, *catalog.Product) error, bad func(*catalog.InvalidError)) error {
	f, err := w.site.open(file)
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
			return pathError("read", file, err)
		}
		if err := fn(id, p); err != nil {
			return err
		}
	}
}

// unbuilt explains the error of a catalog that is not there.
func (w *work) unbuilt(stream string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("cannot read %s: %w; build makes it", w.full(w.catalogPath(stream)), cause(err))
}
