package layer

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// A disk that forgets leaves no trace: whether the store still is what was put there, only
// reading all of it tells.

// A Fault is an entry that is not what was stored.
type Fault struct {
	Meta  // as far as it can be read
	Cause error
}

// Verify reads all entries and returns those that are no longer what was stored, and how
// many there are in all. Layers are known by their content; what else there is, check finds
// something wrong with, or not.
func (s *Store) Verify(ctx context.Context, check func(data string) error) (faults []Fault, all int, err error) {
	keys, err := s.keys()
	if err != nil {
		return nil, 0, err
	}
	for _, key := range keys {
		if err := context.Cause(ctx); err != nil {
			return faults, all, err
		}
		meta, err := s.verify(key, check)
		if errors.Is(err, errGone) {
			continue
		}
		if all++; err != nil {
			faults = append(faults, Fault{meta, err})
		}
	}
	return faults, all, nil
}

// errGone is the cause where an entry was removed or replaced meanwhile.
var errGone = errors.New("it has just gone")

func (s *Store) verify(key string, check func(data string) error) (Meta, error) {
	meta := Meta{Key: key}
	place, err := s.place(key)
	if err != nil {
		return meta, err
	}
	dir, err := s.root.OpenFile(place, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return meta, err
	}
	defer dir.Close()
	if err := dirfd.Flock(dir, unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return meta, errGone
	}
	if meta, err = s.readMeta(key, place); err != nil {
		return Meta{Key: key, Size: s.sizeOf(place)}, err
	}
	data, err := s.openData(place)
	if err != nil {
		return meta, err
	}
	defer data.Close()
	if meta.ID == "" {
		return meta, check((&Entry{path: s.path(place)}).Data())
	}
	id, err := identify(data)
	if err == nil && id != meta.ID {
		err = errOther
	}
	return meta, err
}

// Remove removes entries that no process uses, and returns the keys of the others.
func (s *Store) Remove(keys []string) (used []string, err error) {
	guard, err := s.guard(unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	g := &garbage{store: s}
	defer func() { err = errors.Join(err, g.close()) }()
	for _, key := range keys {
		gone, err := g.take(Meta{Key: key})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return used, err
		}
		if !gone {
			used = append(used, key)
		}
	}
	return used, s.erase(g.names...)
}
