package streams

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/site"

	"golang.org/x/sys/unix"
)

// What no catalog knows is found and removed by rules of its own, since it may be somebody's
// upload: only what was left alone for long goes, never anything a build keeps back.

// planDangling finds what the catalog of a stream does not know: whole products, or
// versions, hidden, incomplete and rejected ones included, in which nothing was
// changed for a while. What waits for its grace period to end is not dangling, and
// neither is what a build withholds.
func (p *pruner) planDangling(ctx context.Context, s *streamPrune) error {
	if len(s.products) == 0 {
		p.info("Skipping removal of dangling resources, because product catalog is empty")
		return nil
	}
	if len(s.foreign) > 0 || p.record.Damaged[s.name] {
		p.warn("Skipping removal of dangling resources, because products were dropped from the catalog; build lists them again", "streamName", s.name)
		return nil
	}
	complete := 0
	err := p.eachProductDir(ctx, s.name, nil, func(product catalog.Location) {
		places := p.danglingIn(s, product)
		for _, place := range places {
			complete += p.countComplete(place)
		}
		s.dangling = append(s.dangling, places...)
	})
	if err != nil {
		return err
	}
	return p.opts.Safety.check("remove", complete, complete+s.stays(), s.name)
}

func (s *streamPrune) stays() int {
	n := 0
	for _, p := range s.products {
		n += len(p.stays)
	}
	return n
}

// eachProductDir calls fn with the directories below one, so many names below that of the
// stream, that are where products are. One that cannot be read does not stop the rest.
func (p *pruner) eachProductDir(ctx context.Context, stream string, names []string, fn func(catalog.Location)) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if place, ok := catalog.Below(stream, names); ok {
		fn(place)
		return nil
	}
	dir := path.Join(stream, path.Join(names...))
	entries, err := p.files.List(dir)
	if err != nil {
		p.trouble(dir, err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if err := p.eachProductDir(ctx, stream, append(slices.Clip(names), e.Name()), fn); err != nil {
			return err
		}
	}
	return nil
}

// danglingIn returns what is dangling of a product: all of it if the catalog does not
// know it at all.
func (p *pruner) danglingIn(s *streamPrune, product catalog.Location) []catalog.Location {
	if s.products[product.Product] == nil && !p.hasLeaving(product) && !p.hasWithheld(product) {
		return p.ifOld(product)
	}
	entries, err := p.files.List(product.Path())
	if err != nil {
		p.trouble(product.Path(), err)
	}
	var places []catalog.Location
	for _, e := range entries {
		place := product.Of(e.Name())
		if e.IsDir() && !p.leaving.Has(place) && !s.knows(place) && !p.isWithheld(place) {
			places = append(places, p.ifOld(place)...)
		}
	}
	return places
}

func (p *pruner) hasLeaving(product catalog.Location) bool {
	for r := range p.leaving {
		if r.Location.Of("") == product {
			return true
		}
	}
	return false
}

// isWithheld tells whether a build keeps a version out of the catalog on purpose. While
// that is not known, it may be any that is complete.
func (p *pruner) isWithheld(place catalog.Location) bool {
	withheld := p.record.Withheld[place.Stream]
	return slices.Contains(withheld, place) || withheld == nil && p.countComplete(place) > 0
}

func (p *pruner) hasWithheld(product catalog.Location) bool {
	withheld := p.record.Withheld[product.Stream]
	return slices.ContainsFunc(withheld, func(place catalog.Location) bool { return place.Of("") == product }) ||
		withheld == nil && p.countComplete(product) > 0
}

// ifOld returns a place if nothing in or below it was changed for a while. An upload
// changes something all the time, if only the size of one file.
func (p *pruner) ifOld(place catalog.Location) []catalog.Location {
	latest, err := newest(p.files, place.Path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		p.trouble(place.Path(), err)
	case p.age(latest) > p.opts.DanglingAge:
		return []catalog.Location{place}
	}
	return nil
}

// newest returns the latest time of modification of a name and all below it.
func newest(files *site.Files, name string) (time.Time, error) {
	st, err := files.Lstat(name)
	if err != nil {
		return time.Time{}, err
	}
	latest := time.Unix(0, st.Mtim.Nano())
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return latest, nil
	}
	entries, err := files.List(name)
	if err != nil {
		return time.Time{}, err
	}
	for _, e := range entries {
		t, err := newest(files, path.Join(name, e.Name()))
		if err != nil {
			return time.Time{}, err
		}
		if t.After(latest) {
			latest = t
		}
	}
	return latest, nil
}

// age compares times of files with the clock of their own file system.
func (p *pruner) age(t time.Time) time.Duration { return time.Duration(p.start - t.UnixNano()) }

// countComplete returns how many versions are complete in a product's directory, or
// whether a version is.
func (p *pruner) countComplete(place catalog.Location) int {
	entries, err := p.files.List(place.Path())
	if err != nil {
		return 0
	}
	n := 0
	if place.Version == "" {
		for _, e := range entries {
			if e.IsDir() {
				n += p.countComplete(place.Of(e.Name()))
			}
		}
		return n
	}
	v := new(inventory.FoundVersion)
	for _, e := range entries {
		v.Files = append(v.Files, inventory.FoundFile{Name: e.Name(), Class: inventory.Classify(e.Name(), false)})
	}
	if !strings.HasPrefix(place.Version, ".") && v.IsComplete(false) {
		n++
	}
	return n
}

// removeDangling removes what was found to be dangling.
func (p *pruner) removeDangling(ctx context.Context) error {
	for _, s := range p.streams {
		errs, err := p.removeEach(ctx, s.dangling)
		for i, err := range errs {
			if err != nil {
				p.sum.Failed++
				p.fail("Failed to prune dangling resource", "path", p.full(s.dangling[i].Path()), "error", err)
				continue
			}
			p.sum.Dangling++
			p.info("Pruned dangling resource", "path", p.full(s.dangling[i].Path()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sweep removes empty directories below the streams, never a stream itself, and what
// killed runs left: unfinished files, and versions they were removing. Any other
// hidden directory may be an upload that is just beginning, and so may a young one.
func (p *pruner) sweep(ctx context.Context) error {
	for _, s := range p.streams {
		for _, name := range s.temps {
			if err := p.files.Remove(name); err != nil {
				return err
			}
		}
		if _, err := p.sweepDir(ctx, s.name, nil); err != nil {
			return err
		}
	}
	return nil
}

// sweepDir sweeps a directory so many names below that of a stream, and tells whether it
// is gone. What is in a version is left alone.
func (p *pruner) sweepDir(ctx context.Context, stream string, names []string) (bool, error) {
	if err := context.Cause(ctx); err != nil {
		return false, err
	}
	dir := path.Join(stream, path.Join(names...))
	st, err := p.files.Lstat(dir)
	if err != nil {
		return false, ignoreMissing(err)
	}
	entries, err := p.files.List(dir)
	if err != nil {
		p.trouble(dir, err)
		return false, nil
	}
	left := len(entries)
	if place, _ := catalog.Below(stream, names); place.Version == "" {
		for _, e := range entries {
			gone, err := p.sweepEntry(ctx, stream, append(slices.Clip(names), e.Name()), e)
			if err != nil {
				return false, err
			}
			if gone {
				left--
			}
		}
	}
	if left > 0 || len(names) == 0 || !p.oldEnough(st.Mtim.Nano()) {
		return false, nil
	}
	return p.removeEmpty(dir)
}

func (p *pruner) sweepEntry(ctx context.Context, stream string, names []string, e fs.DirEntry) (bool, error) {
	place, ok := catalog.Below(stream, names)
	switch hidden := strings.HasPrefix(e.Name(), "."); {
	case !e.IsDir():
		return false, nil
	case hidden && ok && strings.HasSuffix(e.Name(), removedSuffix):
		return true, p.files.RemoveAll(place.Path())
	case hidden:
		return false, nil
	}
	return p.sweepDir(ctx, stream, names)
}

func (p *pruner) oldEnough(mtime int64) bool {
	return p.opts.Grace < 0 || p.age(time.Unix(0, mtime)) >= p.opts.Grace
}

func (p *pruner) removeEmpty(dir string) (bool, error) {
	err := p.files.Rmdir(dir)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrNotExist) {
		return false, nil // somebody was faster
	}
	if err != nil {
		return false, err
	}
	p.sum.Empty++
	p.info("Removed empty directory", "path", p.full(dir))
	return true, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s *streamPrune) knows(place catalog.Location) bool {
	p := s.products[place.Product]
	return p != nil && (p.stays[place.Version] || p.gone[place.Version])
}
