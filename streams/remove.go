package streams

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"imagebuilder/streams/catalog"
)

// removedSuffix ends the hidden name that a directory gets before its content is
// removed, so that half of a version never looks like one.
const removedSuffix = ".removed"

// Depths of paths, in slashes.
const (
	productDepth = 4
	versionDepth = 5
	fileDepth    = 6
)

// removable tells whether a path is that of a version, or of a delta in one. Whatever
// the state may say, nothing else is removed.
func removable(name string) bool {
	parts := strings.Split(name, "/")
	if len(parts)-1 != versionDepth && len(parts)-1 != fileDepth {
		return false
	}
	for i, part := range parts {
		check := catalog.CheckPart
		if i >= versionDepth {
			check = catalog.CheckVersion
		}
		if check(part) != nil {
			return false
		}
	}
	return len(parts)-1 == versionDepth || classify(parts[fileDepth], false) == delta
}

// removeDue removes what left the catalogs of these streams long enough ago.
func (p *pruner) removeDue(ctx context.Context) error {
	var versions, deltas []string
	for name, d := range sorted(p.leaving) {
		stream, _, _ := strings.Cut(name, "/")
		switch {
		case !p.due(d.since) || !removable(name) || !slices.Contains(p.Streams, stream):
		case strings.Count(name, "/") == versionDepth:
			versions = append(versions, name)
		default:
			deltas = append(deltas, name)
		}
	}
	errs, err := p.removeEach(ctx, versions, p.removeDir)
	for i := range errs {
		p.removed(versions[i], errs[i])
	}
	for _, name := range deltas {
		if err == nil {
			p.removedDelta(name, p.removeDelta(name))
			err = context.Cause(ctx)
		}
	}
	return err
}

func (p *pruner) removed(name string, err error) {
	if err != nil {
		p.sum.Failed++
		p.fail("Failed to prune old product version", "path", p.full(name), "error", err)
		return
	}
	delete(p.leaving, name)
	p.sum.Removed++
	p.info("Pruned old product version", "path", p.full(name), "error", nil)
}

func (p *pruner) removedDelta(name string, err error) {
	if err != nil {
		p.sum.Failed++
		p.fail("Failed to prune delta file", "path", p.full(name), "error", err)
		return
	}
	delete(p.leaving, name)
	p.sum.Deltas++
	p.info("Pruned delta file", "path", p.full(name))
}

// removals is how many directories are removed at a time. It is the disk that takes
// its time, waiting for each file to be freed.
const removals = 16

// removeEach removes several names at a time. The results are those of the names
// that were come to before the context ended.
func (p *pruner) removeEach(ctx context.Context, names []string, remove func(string) error) ([]error, error) {
	errs := make([]error, len(names))
	var group errgroup.Group
	group.SetLimit(removals)
	for i, name := range names {
		if ctx.Err() != nil {
			group.Wait()
			return errs[:i], context.Cause(ctx)
		}
		group.Go(func() error {
			errs[i] = remove(name)
			return nil
		})
	}
	return errs, group.Wait()
}

// removeDir removes a directory with all that is in it.
func (p *pruner) removeDir(name string) error {
	hidden := path.Join(path.Dir(name), "."+path.Base(name)+removedSuffix)
	err := p.site.renameNew(name, hidden)
	if errors.Is(err, fs.ErrExist) { // a left-over of a run that was killed
		if err = p.site.removeAll(hidden); err == nil {
			err = p.site.rename(name, hidden)
		}
	}
	if err == nil {
		err = p.site.removeAll(hidden)
	}
	return ignoreMissing(err)
}

// removeDelta removes a delta file and its entry in SHA256SUMS.
func (p *pruner) removeDelta(name string) error {
	if err := p.site.remove(name); err != nil {
		return err
	}
	_, err := updateSums(p.site, path.Dir(name), map[string]digest{path.Base(name): {}})
	return ignoreMissing(err)
}

// newest returns the latest time of modification of a name and all below it.
func (s *site) newest(name string) (time.Time, error) {
	st, err := s.stat(name)
	if err != nil {
		return time.Time{}, err
	}
	latest := time.Unix(0, st.Mtim.Nano())
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return latest, nil
	}
	entries, err := s.list(name)
	if err != nil {
		return time.Time{}, err
	}
	for _, e := range entries {
		t, err := s.newest(path.Join(name, e.Name()))
		if err != nil {
			return time.Time{}, err
		}
		if t.After(latest) {
			latest = t
		}
	}
	return latest, nil
}
