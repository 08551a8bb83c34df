package tree

import (
	"errors"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Two trees side by side, for those who look for what makes them different.

// A Compared is a directory that is compared with another.
type Compared struct {
	Root *dirfd.Dir
	Dir  string // of it; one that is missing is empty
	Skip string // what is left out at its top
}

// A Comparison says how directories are compared.
type Comparison struct {
	Prefix string                 // what the paths of differences begin with
	Ignore []string               // of [Kinds]
	Leave  func(path string) bool // whether nobody wants to know of a path; nil: no path is left out
	Found  func(Difference) error

	buffers [2][]byte // for content
}

// Totals are how much a directory holds. A file of several names counts its bytes once.
type Totals struct {
	Files int   `json:"files"` // of all kinds
	Size  int64 `json:"size"`  // bytes of content
}

// Kinds are what two files of the same path can differ in.
var Kinds = []string{"type", "owner", "mode", "size", "time", "link", "device", "xattr", "content"}

// Directories compares two of them, all that is in them included, and tells of each difference,
// in the order of paths. It keeps no more than the names of the directories that it is in and
// the files of several names. Files that are no regular ones are looked at and never opened.
//
// Times are compared to the second where one of them has no fraction: not every format of images
// has room for it.
func (c *Comparison) Directories(old, new Compared) (was, is Totals, err error) {
	left, err := c.open(old)
	if err != nil {
		return was, is, err
	}
	defer left.close()
	right, err := c.open(new)
	if err != nil {
		return was, is, err
	}
	defer right.close()
	err = c.merge(left, right)
	return left.totals, right.totals, err
}

// merge goes through both sides, which have the same order.
func (c *Comparison) merge(old, new *side) error {
	for {
		if err := problem(old, new); err != nil {
			return err
		}
		var err error
		switch order := old.order(new); {
		case old.at == nil && new.at == nil:
			return nil
		case order < 0:
			err = c.alone(old, func(d *Difference, e Entry) { d.Old = &e })
			old.next()
		case order > 0:
			err = c.alone(new, func(d *Difference, e Entry) { d.New = &e })
			new.next()
		default:
			err = c.both(old, new)
			old.next()
			new.next()
		}
		if err != nil {
			return err
		}
	}
}

func problem(old, new *side) error {
	if old.err != nil {
		return old.err
	}
	return new.err
}

// alone tells of what only one side has.
func (c *Comparison) alone(s *side, put func(*Difference, Entry)) error {
	if c.leaves(s) {
		return nil
	}
	e, err := s.entry()
	if err != nil {
		return err
	}
	d := Difference{Path: s.shown}
	put(&d, e)
	return c.Found(d)
}

// both tells what is different in what both sides have.
func (c *Comparison) both(old, new *side) error {
	if c.leaves(old) {
		return nil
	}
	was, err := old.entry()
	if err != nil {
		return err
	}
	is, err := new.entry()
	if err != nil {
		return err
	}
	d := Difference{Path: old.shown, Old: &was, New: &is, Kinds: was.differs(is)}
	if was.Type == regular && is.Type == regular && !same(old.st, new.st) && !slices.Contains(c.Ignore, "content") {
		offset, differ, err := c.content(old, new)
		if err != nil {
			return err
		}
		if differ {
			d.Kinds, d.Offset = append(d.Kinds, "content"), offset
		}
	}
	d.Kinds = slices.DeleteFunc(d.Kinds, func(kind string) bool { return slices.Contains(c.Ignore, kind) })
	if len(d.Kinds) == 0 {
		return nil
	}
	return c.Found(d)
}

// leaves tells whether nothing is said of a path: it is left out, or it is the directory
// around what is compared.
func (c *Comparison) leaves(s *side) bool {
	return s.at.Depth == 0 && c.Prefix == "" || c.Leave != nil && c.Leave(s.shown)
}

// same tells whether two names mean one file.
func same(a, b *unix.Stat_t) bool { return a.Dev == b.Dev && a.Ino == b.Ino }

// A side is where the comparison has come to in one of the directories.
type side struct {
	dir    *dirfd.Dir // nil: there is none
	prefix string
	links  map[inode]string // files of several names, by the first
	totals Totals

	pull func() (place, error, bool)
	stop func()

	at    *dirfd.At // nil: the end
	st    *unix.Stat_t
	err   error
	shown string // the path of a difference
	first string // of which file this is another name; "": of none
}

// place is where a scan has come to.
type place struct {
	at dirfd.At
	st *unix.Stat_t
}

var errEnough = errors.New("internal error: the rest is not wanted")

// open begins with one side.
func (c *Comparison) open(d Compared) (*side, error) {
	s := &side{prefix: c.Prefix, links: make(map[inode]string), stop: func() {}}
	dir, err := d.Root.Sub(d.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	s.dir = dir
	s.pull, s.stop = iter.Pull2(func(yield func(place, error) bool) {
		err := dir.Scan(".", func(at dirfd.At, st *unix.Stat_t) error {
			if d.Skip != "" && (at.Name == d.Skip || strings.HasPrefix(at.Name, d.Skip+"/")) {
				return nil
			}
			if !yield(place{at, st}, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && err != errEnough {
			yield(place{}, err)
		}
	})
	s.next()
	return s, nil
}

func (s *side) close() {
	s.stop()
	if s.dir != nil {
		s.dir.Close()
	}
}

// next goes on to the next path.
func (s *side) next() {
	s.at = nil
	if s.pull == nil {
		return
	}
	p, err, ok := s.pull()
	if s.err = err; err != nil || !ok {
		return
	}
	s.at, s.st, s.first = &p.at, p.st, ""
	s.shown = s.prefix + strings.TrimPrefix(path.Clean("/"+p.at.Name), "/")
	s.totals.Files++
	if s.st.Nlink > 1 && s.st.Mode&unix.S_IFMT != unix.S_IFDIR {
		key := inode{uint64(s.st.Dev), s.st.Ino}
		if s.first = s.links[key]; s.first != "" {
			return
		}
		s.links[key] = s.shown
	}
	if s.st.Mode&unix.S_IFMT == unix.S_IFREG {
		s.totals.Size += s.st.Size
	}
}

// order tells which side is at the path that comes first in a scan: below zero if it is s.
func (s *side) order(t *side) int {
	switch {
	case s.at == nil && t.at == nil:
		return 0
	case s.at == nil:
		return 1
	case t.at == nil:
		return -1
	}
	return strings.Compare(scanned(s.at), scanned(t.at))
}

// scanned is a name whose order is that of a scan: what is in a directory comes right after it.
func scanned(at *dirfd.At) string {
	if at.Depth == 0 {
		return ""
	}
	return strings.ReplaceAll(at.Name, "/", "\x00")
}

// differs returns in what two entries differ, content left out.
func (e Entry) differs(f Entry) []string {
	var kinds []string
	alike := e.Type == f.Type
	for _, one := range []struct {
		kind string
		is   bool
	}{
		{"type", !alike},
		{"owner", e.UID != f.UID || e.GID != f.GID},
		{"mode", alike && e.Mode != f.Mode},
		{"size", alike && e.Size != f.Size},
		{"time", !sameTime(e, f)},
		{"link", alike && (e.Link != f.Link || e.Hard != f.Hard)},
		{"device", alike && e.Device != f.Device},
		{"xattr", !maps.Equal(e.Attributes, f.Attributes)},
	} {
		if one.is {
			kinds = append(kinds, one.kind)
		}
	}
	return kinds
}

func sameTime(e, f Entry) bool {
	if e.Time.Nanosecond() == 0 || f.Time.Nanosecond() == 0 {
		return e.Time.Unix() == f.Time.Unix()
	}
	return e.Time.Equal(f.Time)
}
