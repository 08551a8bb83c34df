package layer

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// What goes when the store grows too large. What is in use is known by its lock alone.

// List describes all entries and what runs have left beside them, the most recently used
// first.
func (s *Store) List() ([]Meta, error) {
	keys, err := s.keys()
	if err != nil {
		return nil, err
	}
	list, err := s.leftovers()
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		place, err := s.place(key)
		if err != nil {
			continue // it has just gone, or is damaged
		}
		if meta, err := s.readMeta(key, place); err == nil {
			list = append(list, meta)
		}
	}
	slices.SortFunc(list, func(a, b Meta) int { return b.Used.Compare(a.Used) })
	return list, nil
}

// keys returns the keys that have an entry, and what else is there.
func (s *Store) keys() ([]string, error) {
	names, err := s.root.ReadDir("entries")
	return slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, ".") }), err
}

// Collect removes the entries that were used least recently until the others take
// no more than max bytes, and what nobody can use: damaged ones, and results whose key
// was given to another. What a process uses stays, and so does all that runs have left
// beside entries as long as another one is at work. It returns what it removed.
func (s *Store) Collect(max int64) (removed []Meta, err error) {
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	var kept int64
	var old []Meta
	for _, meta := range list {
		if kept += meta.Size; kept > max {
			old = append(old, meta)
		}
	}
	guard, err := s.guard(unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	damaged, err := s.damaged()
	if err != nil {
		return nil, err
	}
	alone, done := s.alone()
	g := &garbage{store: s, leftovers: alone}
	defer func() { err = errors.Join(err, g.close(), done()) }()
	for _, meta := range append(old, damaged...) {
		gone, err := g.take(meta)
		if err != nil {
			return removed, err
		}
		if gone {
			removed = append(removed, meta)
		}
	}
	if err := g.takeOrphans(); err != nil {
		return removed, err
	}
	return removed, s.erase(g.names...)
}

// damaged returns the entries without a description that can be read.
func (s *Store) damaged() ([]Meta, error) {
	keys, err := s.keys()
	if err != nil {
		return nil, err
	}
	var list []Meta
	for _, key := range keys {
		place, err := s.place(key)
		if err == nil {
			_, err = s.readMeta(key, place)
		}
		if err == nil {
			continue
		}
		list = append(list, Meta{Key: key, Size: s.sizeOf(place)})
	}
	return list, nil
}

// sizeOf is what something below the store takes on the disk, as far as it can be read.
func (s *Store) sizeOf(name string) int64 {
	f, err := s.root.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	m, _ := measure(dirfd.New(f, dirfd.Refuse))
	return m.disk
}

// garbage is what is about to be removed, locked until it is.
type garbage struct {
	store     *Store
	leftovers bool // these go as well
	names     []string
	locks     []*os.File
}

func (g *garbage) close() error {
	var errs []error
	for _, f := range g.locks {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// take takes an entry out of the store, unless a process uses it.
func (g *garbage) take(meta Meta) (bool, error) {
	if meta.leftover != "" {
		if !g.leftovers {
			return false, nil
		}
		return true, g.store.removeLeftover(meta)
	}
	entry := path.Join("entries", meta.Key)
	if place, err := g.store.place(meta.Key); err == nil {
		if free, err := g.lock(place); !free || err != nil {
			return false, err
		}
	}
	if err := g.store.root.Remove(entry); err != nil {
		g.names = append(g.names, entry) // it is no link
	}
	return true, nil
}

// lock locks a result that is to be removed, and tells whether nobody uses it.
func (g *garbage) lock(place string) (free bool, err error) {
	dir, err := os.OpenFile(g.store.path(place), os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe has no other end
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if dirfd.Flock(dir, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false, dir.Close()
	}
	g.locks = append(g.locks, dir)
	g.names = append(g.names, place)
	return true, nil
}

// takeOrphans takes the results that no key leads to: a process was killed before it
// could give one its key, or still used one when another took its key.
func (g *garbage) takeOrphans() error {
	keys, err := g.store.keys()
	if err != nil {
		return err
	}
	led := make(map[string]bool)
	for _, key := range keys {
		if place, err := g.store.place(key); err == nil {
			led[place] = true
		}
	}
	names, err := g.store.root.ReadDir("results")
	for _, name := range names {
		place := path.Join("results", name)
		if led[place] || slices.Contains(g.names, place) {
			continue
		}
		if _, err := g.lock(place); err != nil {
			return err
		}
	}
	return err
}
