package layer

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"golang.org/x/sys/unix"
)

// List describes all entries, the most recently used first.
func (s *Store) List() ([]Meta, error) {
	names, err := os.ReadDir(s.path("entries"))
	if err != nil {
		return nil, err
	}
	var list []Meta
	for _, d := range names {
		// An entry without a description is one that is just being replaced.
		if meta, err := readMeta(s.path("entries", d.Name())); err == nil {
			list = append(list, meta)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Used.After(list[j].Used) })
	return list, nil
}

// Collect removes the entries that were used least recently until the others take
// no more than max bytes, and those that nobody can use since their description is
// damaged. What a process uses stays. It returns what it removed.
func (s *Store) Collect(max int64) ([]Meta, error) {
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
	return s.remove(old)
}

// remove takes entries out of the store. They are moved aside first, so that none is
// ever seen half removed.
func (s *Store) remove(old []Meta) (removed []Meta, err error) {
	if damaged, err := s.damaged(); err != nil || len(old)+len(damaged) == 0 {
		return nil, err
	}
	trash, err := s.stage()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(trash.Name()), trash.Close()) }()
	guard, err := s.guard(unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	damaged, err := s.damaged() // again: one that was just being replaced looked like it
	if err != nil {
		return nil, err
	}
	for _, meta := range append(old, damaged...) {
		moved, err := moveUnlocked(s.path("entries", meta.Key), filepath.Join(trash.Name(), meta.Key))
		if err != nil {
			return removed, err
		}
		if moved {
			removed = append(removed, meta)
		}
	}
	return removed, nil
}

// damaged returns the entries without a description that can be read.
func (s *Store) damaged() ([]Meta, error) {
	names, err := os.ReadDir(s.path("entries"))
	if err != nil {
		return nil, err
	}
	var list []Meta
	for _, d := range names {
		place := s.path("entries", d.Name())
		if _, err := readMeta(place); err == nil {
			continue
		}
		size, _ := diskUsage(place) // as far as it can be read
		list = append(list, Meta{Key: d.Name(), Size: size})
	}
	return list, nil
}

func moveUnlocked(from, to string) (bool, error) {
	dir, err := os.Open(from)
	if errors.Is(err, fs.ErrNotExist) { // another process was faster
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer dir.Close()
	if unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false, nil // in use
	}
	return true, os.Rename(from, to)
}
