package streams

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// A scan is what was found in one stream, compared with what was there before.
type scan struct {
	products []*product        // by id
	fresh    map[*product]bool // differ from what was known, or have something left to do
	touched  bool              // nothing has changed but times, which the cache should learn
	lost     []trouble         // what could not be looked at
	skipped  []trouble         // what is there but does not count
}

// A trouble is something wrong with one name in the tree.
type trouble struct {
	path string
	err  error
}

// A scanner looks through a stream. It only reads.
type scanner struct {
	files    *site.Files
	stream   string
	upstream bool
	workers  int
	leaving  leaving
	known    map[catalog.Name]*product // from the cache
	start    int64                     // file-system time of this run, for settled
}

// scan looks at every file that matters, without opening any. The order of the
// result does not depend on that of the work.
func (sc *scanner) scan(ctx context.Context) (*scan, error) {
	found := &scan{fresh: make(map[*product]bool)}
	if err := sc.walk(found, nil, nil); err != nil {
		return nil, err
	}
	looks := make([]look, len(found.products))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(sc.workers)
	for i, p := range found.products {
		group.Go(func() error {
			looks[i].product = sc.product(p, &looks[i])
			return context.Cause(ctx)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	found.products = found.products[:0]
	for _, l := range looks {
		found.products = append(found.products, l.product)
		found.fresh[l.product] = l.fresh
		found.touched = found.touched || l.touched
		for _, t := range l.troubles {
			found.add(t)
		}
	}
	slices.SortFunc(found.products, func(a, b *product) int { return a.place.Compare(b.place) })
	return found, nil
}

// errSkip marks a trouble as being no failure: the name does not count, by a rule.
var errSkip = errors.New("left out")

func (s *scan) add(t trouble) {
	if errors.Is(t.err, errSkip) {
		s.skipped = append(s.skipped, t)
	} else {
		s.lost = append(s.lost, t)
	}
}

// walk finds the products below a directory, which is so many names below that of the
// stream. Only that the stream itself cannot be read is an error. A product that was
// known and that cannot be looked at now stays as it was.
func (sc *scanner) walk(found *scan, names []string, levels []level) error {
	dir := path.Join(sc.stream, path.Join(names...))
	entries, err := sc.files.List(dir)
	if err != nil {
		if len(names) == 0 {
			return err
		}
		found.lost = append(found.lost, trouble{dir, err})
		sc.keep(found, names)
		return nil
	}
	if len(names) > 0 {
		levels = sc.levels(levels, dir, entries)
	}
	if place, ok := catalog.Below(sc.stream, names); ok {
		found.products = append(found.products, &product{place: place, levels: levels})
		return nil
	}
	for _, entry := range entries {
		isDir, err := sc.isDir(dir, entry, catalog.CheckPart)
		if err != nil {
			found.add(trouble{path.Join(dir, entry.Name()), err})
		}
		if isDir {
			sc.walk(found, append(slices.Clip(names), entry.Name()), levels)
		}
	}
	return nil
}

// keep takes over the products below a directory that cannot be read.
func (sc *scanner) keep(found *scan, names []string) {
	for _, p := range sc.known {
		if p.place.Product.Leads(names) {
			found.products = append(found.products, p)
		}
	}
}

// isDir tells whether an entry is a directory that counts: not hidden, of a name
// that can be used, and no link unless links are wanted.
func (sc *scanner) isDir(dir string, entry fs.DirEntry, check func(string) error) (bool, error) {
	if strings.HasPrefix(entry.Name(), ".") && !sc.upstream {
		return false, nil
	}
	if entry.Type() == fs.ModeSymlink {
		if !sc.files.Links {
			return false, fmt.Errorf("%w: it is a symbolic link", errSkip)
		}
		sub, err := sc.files.Sub(path.Join(dir, entry.Name()))
		if errors.Is(err, unix.ENOTDIR) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		sub.Close()
	} else if !entry.IsDir() {
		return false, nil
	}
	if err := check(entry.Name()); err != nil {
		return false, fmt.Errorf("%w: %w", errSkip, err)
	}
	return true, nil
}

// levels adds the requirement files of one directory.
func (sc *scanner) levels(levels []level, dir string, entries []fs.DirEntry) []level {
	levels = slices.Clip(levels)
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		if sc.upstream || entry.Name() != requirementsName && entry.Name() != lxdRequirementsName {
			continue
		}
		if st, err := sc.files.Lstat(name); err == nil {
			levels = append(levels, level{name, site.StampOf(&st), sc.settled(st.Mtim.Nano())})
		}
	}
	return levels
}
