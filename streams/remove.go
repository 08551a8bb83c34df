package streams

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"

	"golang.org/x/sync/errgroup"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
)

// This is the one file that removes images. What it is given are Removables that were checked;
// a directory gets a hidden name first, so that half of a version never looks like one.

// removedSuffix ends the hidden name that a directory gets before its content is
// removed, so that half of a version never looks like one.
const removedSuffix = ".removed"

// removeDue removes what left the catalogs of these streams long enough ago.
func (p *pruner) removeDue(ctx context.Context) error {
	var versions []catalog.Location
	var deltas []inventory.Removable
	for _, r := range p.leaving.Sorted() {
		switch {
		case !p.due(p.leaving[r].Since) || !slices.Contains(p.Streams, r.Stream):
		case r.Delta == "":
			versions = append(versions, r.Location)
		default:
			deltas = append(deltas, r)
		}
	}
	errs, err := p.removeEach(ctx, versions)
	for i := range errs {
		p.removed(versions[i], errs[i])
	}
	for _, r := range deltas {
		if err == nil {
			p.removedDelta(r, p.removeDelta(r))
			err = context.Cause(ctx)
		}
	}
	return err
}

func (p *pruner) removed(place catalog.Location, err error) {
	if err != nil {
		p.sum.Failed++
		p.fail("Failed to prune old product version", "path", p.full(place.Path()), "error", err)
		return
	}
	delete(p.leaving, inventory.Removable{Location: place})
	p.sum.Removed++
	p.info("Pruned old product version", "path", p.full(place.Path()), "error", nil)
}

func (p *pruner) removedDelta(r inventory.Removable, err error) {
	if err != nil {
		p.sum.Failed++
		p.fail("Failed to prune delta file", "path", p.full(r.Path()), "error", err)
		return
	}
	delete(p.leaving, r)
	p.sum.Deltas++
	p.info("Pruned delta file", "path", p.full(r.Path()))
}

// removals is how many directories are removed at a time. It is the disk that takes
// its time, waiting for each file to be freed.
const removals = 16

// removeEach removes several directories at a time. The results are those of the ones
// that were come to before the context ended.
func (p *pruner) removeEach(ctx context.Context, places []catalog.Location) ([]error, error) {
	errs := make([]error, len(places))
	var group errgroup.Group
	group.SetLimit(removals)
	for i, place := range places {
		if ctx.Err() != nil {
			group.Wait()
			return errs[:i], context.Cause(ctx)
		}
		group.Go(func() error {
			errs[i] = p.removeDir(place.Path())
			return nil
		})
	}
	return errs, group.Wait()
}

// removeDir removes a directory with all that is in it.
func (p *pruner) removeDir(name string) error {
	hidden := path.Join(path.Dir(name), "."+path.Base(name)+removedSuffix)
	err := p.files.RenameNew(name, hidden)
	if errors.Is(err, fs.ErrExist) { // a left-over of a run that was killed
		if err = p.files.RemoveAll(hidden); err == nil {
			err = p.files.Rename(name, hidden)
		}
	}
	if err == nil {
		err = p.files.RemoveAll(hidden)
	}
	return ignoreMissing(err)
}

// removeDelta removes a delta file and its entry in SHA256SUMS.
func (p *pruner) removeDelta(r inventory.Removable) error {
	if err := p.files.Remove(r.Path()); err != nil {
		return err
	}
	_, err := inventory.UpdateSums(p.files, r.Location, map[string]digest.Digest{r.Delta: {}})
	return ignoreMissing(err)
}
