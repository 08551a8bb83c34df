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
	site     *site
	stream   string
	upstream bool
	workers  int
	leaving  map[string]bool           // versions that are on their way out
	known    map[catalog.Name]*product // from the cache
	start    int64                     // file-system time of this run, for settled
}

// scan looks at every file that matters, without opening any. The order of the
// result does not depend on that of the work.
func (sc *scanner) scan(ctx context.Context) (*scan, error) {
	found := &scan{fresh: make(map[*product]bool)}
	if err := sc.walk(found, sc.stream, nil, nil); err != nil {
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
	slices.SortFunc(found.products, func(a, b *product) int { return strings.Compare(a.name.ID(), b.name.ID()) })
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

// walk finds the products below a directory: those exactly four levels down. Only
// that the stream itself cannot be read is an error. A product that was known and
// that cannot be looked at now stays as it was.
func (sc *scanner) walk(found *scan, dir string, parts []string, levels []level) error {
	entries, err := sc.site.list(dir)
	if err != nil {
		if len(parts) == 0 {
			return err
		}
		found.lost = append(found.lost, trouble{dir, err})
		sc.keep(found, dir)
		return nil
	}
	if len(parts) > 0 {
		levels = sc.levels(levels, dir, entries)
	}
	if len(parts) == 4 {
		name := catalog.Name{Distro: parts[0], Release: parts[1], Arch: parts[2], Variant: parts[3]}
		found.products = append(found.products, &product{name: name, levels: levels})
		return nil
	}
	for _, entry := range entries {
		isDir, err := sc.isDir(dir, entry, catalog.CheckPart)
		if err != nil {
			found.add(trouble{path.Join(dir, entry.Name()), err})
		}
		if isDir {
			sc.walk(found, path.Join(dir, entry.Name()), append(parts[:len(parts):len(parts)], entry.Name()), levels)
		}
	}
	return nil
}

// keep takes over the products below a directory that cannot be read.
func (sc *scanner) keep(found *scan, dir string) {
	for _, p := range sc.known {
		if own := p.name.Dir(sc.stream); own == dir || strings.HasPrefix(own, dir+"/") {
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
		if !sc.site.links {
			return false, fmt.Errorf("%w: it is a symbolic link", errSkip)
		}
		f, err := sc.site.openDir(path.Join(dir, entry.Name()))
		if errors.Is(err, unix.ENOTDIR) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		f.Close()
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
		if st, err := sc.site.stat(name); err == nil {
			levels = append(levels, level{name, stampOf(&st), sc.settled(st.Mtim.Nano())})
		}
	}
	return levels
}
