package layer

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Results as material for others: whoever makes one may use what was made before, whatever
// that was made of.

// Latest returns the results that hold a file of a name, the most recently used first and no
// more than max. They are held until the store is closed. With NoCache there are none.
func (s *Store) Latest(file string, max int) ([]*Entry, error) {
	if s.options.NoCache {
		return nil, nil
	}
	list, err := s.List()
	var entries []*Entry
	for _, meta := range list {
		if len(entries) == max {
			break
		}
		if e := s.holding(meta, file); e != nil {
			s.keep(e)
			entries = append(entries, e)
		}
	}
	return entries, err
}

// holding returns the entry that was listed, held, if it is there and has the file.
func (s *Store) holding(meta Meta, file string) *Entry {
	if meta.leftover != "" {
		return nil
	}
	place, err := s.place(meta.Key)
	if err != nil {
		return nil
	}
	dir, err := s.root.OpenFile(place, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil
	}
	e := &Entry{Meta: meta, path: s.path(place), dir: dir}
	err = dirfd.Flock(dir, unix.LOCK_SH|unix.LOCK_NB)
	if err == nil {
		_, err = os.Lstat(filepath.Join(e.Data(), file))
	}
	if now, again := s.place(meta.Key); errors.Join(err, again) != nil || now != place {
		dir.Close()
		return nil
	}
	return e
}

// Touch counts a result as used now.
func (e *Entry) Touch() error {
	now := time.Now() // not the build's clock: this orders uses on this machine
	return os.Chtimes(filepath.Join(e.path, "meta.json"), now, now)
}
