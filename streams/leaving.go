package streams

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// A removable is what the tool may remove by itself: a version, or a delta in one.
// Whatever state and catalogs may say, nothing else is.
type removable struct {
	catalog.Place
	Delta string // "": the version with all that is in it
}

// path returns where it is, from the root of the site.
func (r removable) path() string {
	if r.Delta == "" {
		return r.Place.Path()
	}
	return r.Place.File(r.Delta)
}

// allowed tells whether it is what it has to be. A catalog can call any file a delta.
func (r removable) allowed() bool {
	if r.Version == "" || r.Place.Check() != nil {
		return false
	}
	return r.Delta == "" || catalog.CheckFile(r.Delta) == nil && classify(r.Delta, false) == delta
}

// parseRemovable takes a path apart.
func parseRemovable(name string) (removable, bool) {
	r := removable{}
	place, err := catalog.ParsePlace(name)
	if err != nil || place.Version == "" {
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return r, false
		}
		if place, err = catalog.ParsePlace(name[:i]); err != nil {
			return r, false
		}
		r.Delta = name[i+1:]
		if r.Delta == "" {
			return r, false
		}
	}
	r.Place = place
	return r, r.allowed()
}

// leaving is what has left the catalogs and still waits for its files to be removed.
// Clients go by an old catalog for an hour, and their downloads take time.
type leaving map[removable]departure

// has tells whether a version is leaving.
func (l leaving) has(p catalog.Place) bool {
	_, ok := l[removable{Place: p}]
	return ok
}

// A departure says when something left the catalogs, and what it was: another directory
// under its name has nothing to do with it.
type departure struct {
	since time.Time
	which string // its identity; "": not known
}

// MarshalText writes the time and, after a blank, the identity.
func (d departure) MarshalText() ([]byte, error) {
	text, err := d.since.MarshalText()
	if err == nil && d.which != "" {
		text = append(append(text, ' '), d.which...)
	}
	return text, err
}

// UnmarshalText reads what MarshalText wrote.
func (d *departure) UnmarshalText(text []byte) error {
	since, which, _ := strings.Cut(string(text), " ")
	d.which = which
	return d.since.UnmarshalText([]byte(since))
}

const leavingPath = site.StateDir + "/leaving.json"

// readLeaving returns what is leaving. What is gone already, or was replaced, is not.
func readLeaving(files *site.Files) leaving {
	var state map[string]departure
	json.Unmarshal(files.ReadState(leavingPath), &state) // a damaged one is as good as none
	l := make(leaving)
	for name, d := range state {
		if r, ok := parseRemovable(name); ok && d.isOf(files, name) {
			l[r] = d
		}
	}
	return l
}

// isOf tells whether a name still stands for what has left. If that cannot be told, it
// does.
func (d departure) isOf(files *site.Files, name string) bool {
	now, err := files.Identity(name)
	return !errors.Is(err, fs.ErrNotExist) && (err != nil || d.which == "" || now == d.which)
}

// write remembers what is leaving.
func (l leaving) write(files *site.Files) error {
	state := make(map[string]departure, len(l))
	for r, d := range l {
		state[r.path()] = d
	}
	return files.WriteState(leavingPath, state)
}

// enter notes that something leaves now, if it is there and may be removed.
func (l leaving) enter(files *site.Files, r removable, now time.Time) {
	which, err := files.Identity(r.path())
	if r.allowed() && !errors.Is(err, fs.ErrNotExist) {
		l[r] = departure{now, which}
	}
}

// sorted returns what is leaving in the order of the paths.
func (l leaving) sorted() []removable {
	return slices.SortedFunc(maps.Keys(l), func(a, b removable) int { return strings.Compare(a.path(), b.path()) })
}
