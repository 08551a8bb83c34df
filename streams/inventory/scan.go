package inventory

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

// A scan goes through all of a stream, many products at a time, and comes to the same result
// in whatever order that happens.

// A Scan is what was found in one stream, compared with what was there before.
type Scan struct {
	Products []*FoundProduct        // by id
	Fresh    map[*FoundProduct]bool // differ from what was known, or have something left to do
	Touched  bool                   // nothing has changed but times, which the cache should learn
	Lost     []Trouble              // what could not be looked at
	Skipped  []Trouble              // what is there but does not count
}

// A Trouble is something wrong with one name in the tree.
type Trouble struct {
	Path string
	Err  error
}

// A Scanner looks through a stream. It only reads.
type Scanner struct {
	Files    *site.Files
	Stream   string
	Upstream bool
	Workers  int
	Leaving  Leaving
	Known    map[catalog.Name]*FoundProduct // from the cache
	Start    int64                          // file-system time of this run, for settled
}

// Scan looks at every file that matters, without opening any. The order of the
// result does not depend on that of the work.
func (sc *Scanner) Scan(ctx context.Context) (*Scan, error) {
	found := &Scan{Fresh: make(map[*FoundProduct]bool)}
	if err := sc.walk(found, nil, nil); err != nil {
		return nil, err
	}
	looks := make([]look, len(found.Products))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(sc.Workers)
	for i, p := range found.Products {
		group.Go(func() error {
			looks[i].product = sc.product(p, &looks[i])
			return context.Cause(ctx)
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	found.Products = found.Products[:0]
	for _, l := range looks {
		found.Products = append(found.Products, l.product)
		found.Fresh[l.product] = l.fresh
		found.Touched = found.Touched || l.touched
		for _, t := range l.troubles {
			found.add(t)
		}
	}
	slices.SortFunc(found.Products, func(a, b *FoundProduct) int { return a.Location.Compare(b.Location) })
	return found, nil
}

// errSkip marks a trouble as being no failure: the name does not count, by a rule.
var errSkip = errors.New("left out")

func (s *Scan) add(t Trouble) {
	if errors.Is(t.Err, errSkip) {
		s.Skipped = append(s.Skipped, t)
	} else {
		s.Lost = append(s.Lost, t)
	}
}

// walk finds the products below a directory, which is so many names below that of the
// stream. Only that the stream itself cannot be read is an error. A product that was
// known and that cannot be looked at now stays as it was.
func (sc *Scanner) walk(found *Scan, names []string, levels []level) error {
	dir := path.Join(sc.Stream, path.Join(names...))
	entries, err := sc.Files.List(dir)
	if err != nil {
		if len(names) == 0 {
			return err
		}
		found.Lost = append(found.Lost, Trouble{dir, err})
		sc.keep(found, names)
		return nil
	}
	if len(names) > 0 {
		levels = sc.levels(levels, dir, entries)
	}
	if place, ok := catalog.Below(sc.Stream, names); ok {
		found.Products = append(found.Products, &FoundProduct{Location: place, levels: levels})
		return nil
	}
	for _, entry := range entries {
		isDir, err := sc.isDir(dir, entry, catalog.CheckPart)
		if err != nil {
			found.add(Trouble{path.Join(dir, entry.Name()), err})
		}
		if isDir {
			sc.walk(found, append(slices.Clip(names), entry.Name()), levels)
		}
	}
	return nil
}

// keep takes over the products below a directory that cannot be read.
func (sc *Scanner) keep(found *Scan, names []string) {
	for _, p := range sc.Known {
		if p.Location.Product.Leads(names) {
			found.Products = append(found.Products, p)
		}
	}
}

// isDir tells whether an entry is a directory that counts: not hidden, of a name
// that can be used, and no link unless links are wanted.
func (sc *Scanner) isDir(dir string, entry fs.DirEntry, check func(string) error) (bool, error) {
	if strings.HasPrefix(entry.Name(), ".") && !sc.Upstream {
		return false, nil
	}
	if entry.Type() == fs.ModeSymlink {
		if !sc.Files.Links {
			return false, fmt.Errorf("%w: it is a symbolic link", errSkip)
		}
		sub, err := sc.Files.Sub(path.Join(dir, entry.Name()))
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
func (sc *Scanner) levels(levels []level, dir string, entries []fs.DirEntry) []level {
	levels = slices.Clip(levels)
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		if sc.Upstream || entry.Name() != requirementsName && entry.Name() != lxdRequirementsName {
			continue
		}
		if st, err := sc.Files.Lstat(name); err == nil {
			levels = append(levels, level{name, site.StampOf(&st), sc.settled(st.Mtim.Nano())})
		}
	}
	return levels
}
