package streams

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"

	"imagebuilder/builtins/problems"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
)

// What is about to be lost is looked at before anything is written: too much at once, or what
// another tool has made, is rather a mistake than meant.

// Safety guards against publishing an image tree that was emptied, or is not
// mounted.
type Safety struct {
	MaxDrop float64 // refuse to drop more than this share of what a stream lists; 0: DefaultMaxDrop
	Force   bool    // do it nevertheless
}

// ErrRefused is part of the error of a run that Safety has stopped.
var ErrRefused = errors.New("refusing")

// check refuses to drop or remove too large a share of what a stream has.
func (s Safety) check(do string, gone, all int, stream string) error {
	limit := cmp.Or(s.MaxDrop, DefaultMaxDrop)
	if s.Force || float64(gone) <= limit*float64(all) {
		return nil
	}
	return fmt.Errorf("%w to %s %d of the %d versions of stream %s: is the tree mounted and complete? If it is, use force", ErrRefused, do, gone, all, stream)
}

// checkForeign refuses to drop products that cannot be understood and are not in the tree, with
// all of their versions: another tool has listed them. What is damaged and there is listed again
// by a build.
func (w *openSite) checkForeign(safety Safety, stream string, foreign []*catalog.InvalidError, there func(*catalog.InvalidError) bool) error {
	var refused error
	for _, bad := range foreign {
		if there(bad) {
			continue
		}
		w.warn("Dropping product that cannot be understood from catalog", "streamName", stream, "product", bad.Product, "error", bad.Err)
		if !safety.Force {
			err := fmt.Errorf("%w to drop product %q of stream %s, which another tool has listed: %w; if it may go, use force", ErrRefused, bad.Product, stream, bad.Err)
			refused = problems.Join(refused, err)
		}
	}
	return refused
}

// checkIndex refuses to take a catalog out of the index that is where this tool puts none:
// another one has listed it. What is not there is lost already.
func (w *openSite) checkIndex(safety Safety, old, entries map[string]catalog.IndexEntry) error {
	var refused error
	for name, was := range inventory.Sorted(old) {
		own := catalog.CheckStream(name) == nil && was.Path == w.catalogs.Path(name)
		if own || entries[name].Path == was.Path || !fs.ValidPath(was.Path) {
			continue
		}
		if _, err := w.files.Lstat(was.Path); err != nil {
			continue
		}
		w.warn("Dropping catalog of another tool from index", "streamName", name, "path", w.full(was.Path))
		if !safety.Force {
			err := fmt.Errorf("%w to drop %q, the catalog %s, from the index: another tool has listed it; if it may go, use force", ErrRefused, name, was.Path)
			refused = problems.Join(refused, err)
		}
	}
	return refused
}
