package inventory

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

// What leaves the catalogs stays on the disk for a while. This is the memory of it, and with
// Removable the one rule about what the tool may remove.

// A Removable is what the tool may remove by itself: a version, or a delta in one.
// Whatever state and catalogs may say, nothing else is.
type Removable struct {
	catalog.Location
	Delta string // "": the version with all that is in it
}

// Path returns where it is, from the root of the site.
func (r Removable) Path() string {
	if r.Delta == "" {
		return r.Location.Path()
	}
	return r.Location.File(r.Delta)
}

// Allowed tells whether it is what it has to be. A catalog can call any file a delta.
func (r Removable) Allowed() bool {
	if r.Version == "" || r.Location.Check() != nil {
		return false
	}
	return r.Delta == "" || catalog.CheckFile(r.Delta) == nil && Classify(r.Delta, false) == Delta
}

// parseRemovable takes a path apart.
func parseRemovable(name string) (Removable, bool) {
	r := Removable{}
	place, err := catalog.ParseLocation(name)
	if err != nil || place.Version == "" {
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return r, false
		}
		if place, err = catalog.ParseLocation(name[:i]); err != nil {
			return r, false
		}
		r.Delta = name[i+1:]
		if r.Delta == "" {
			return r, false
		}
	}
	r.Location = place
	return r, r.Allowed()
}

// Leaving is what has left the catalogs and still waits for its files to be removed.
// Clients go by an old catalog for an hour, and their downloads take time.
type Leaving map[Removable]Departure

// Has tells whether a version is leaving.
func (l Leaving) Has(p catalog.Location) bool {
	_, ok := l[Removable{Location: p}]
	return ok
}

// A Departure says when something left the catalogs, and what it was: another directory
// under its name has nothing to do with it.
type Departure struct {
	Since time.Time
	Which string // its identity; "": not known
}

// MarshalText writes the time and, after a blank, the identity.
func (d Departure) MarshalText() ([]byte, error) {
	text, err := d.Since.MarshalText()
	if err == nil && d.Which != "" {
		text = append(append(text, ' '), d.Which...)
	}
	return text, err
}

// UnmarshalText reads what MarshalText wrote.
func (d *Departure) UnmarshalText(text []byte) error {
	since, which, _ := strings.Cut(string(text), " ")
	d.Which = which
	return d.Since.UnmarshalText([]byte(since))
}

const leavingPath = site.StateDir + "/leaving.json"

// ReadLeaving returns what is leaving. What is gone already, or was replaced, is not.
func ReadLeaving(files *site.Files) Leaving {
	var state map[string]Departure
	json.Unmarshal(files.ReadState(leavingPath), &state) // a damaged one is as good as none
	l := make(Leaving)
	for name, d := range state {
		if r, ok := parseRemovable(name); ok && d.isOf(files, name) {
			l[r] = d
		}
	}
	return l
}

// isOf tells whether a name still stands for what has left. If that cannot be told, it
// does.
func (d Departure) isOf(files *site.Files, name string) bool {
	now, err := files.Identity(name)
	return !errors.Is(err, fs.ErrNotExist) && (err != nil || d.Which == "" || now == d.Which)
}

// Write remembers what is leaving.
func (l Leaving) Write(files *site.Files) error {
	state := make(map[string]Departure, len(l))
	for r, d := range l {
		state[r.Path()] = d
	}
	return files.WriteState(leavingPath, state)
}

// Enter notes that something leaves now, if it is there and may be removed.
func (l Leaving) Enter(files *site.Files, r Removable, now time.Time) {
	which, err := files.Identity(r.Path())
	if r.Allowed() && !errors.Is(err, fs.ErrNotExist) {
		l[r] = Departure{now, which}
	}
}

// Sorted returns what is leaving in the order of the paths.
func (l Leaving) Sorted() []Removable {
	return slices.SortedFunc(maps.Keys(l), func(a, b Removable) int { return strings.Compare(a.Path(), b.Path()) })
}
