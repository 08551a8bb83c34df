package inventory

import (
	"errors"
	"slices"
	"strings"
	"time"

	"imagebuilder/streams/catalog"
)

// Which versions are old is asked by a prune, which takes them away, and by a build, which makes
// no deltas for what is about to go. They have to agree, so the rule is here.

// A Retention says which versions of a product are kept. The zero value keeps all.
type Retention struct {
	Builds     int  // so many of the newest; 0: any number
	Days       int  // those that are not older; 0: of any age
	AllowEmpty bool // Days may take the last version of a product as well
}

// Check returns what is wrong with the numbers.
func (r Retention) Check() error {
	if r.Builds < 0 || r.Days < 0 {
		return errors.New("the number of builds or days to keep is negative")
	}
	return nil
}

// Keep tells for each version of a product whether it is kept. They come newest
// first; born returns when one was made.
func (r Retention) Keep(count int, now time.Time, born func(int) time.Time) []bool {
	kept := make([]bool, count)
	for i := range kept {
		tooMany := r.Builds > 0 && i >= r.Builds
		tooOld := r.Days > 0 && now.Sub(born(i)) > time.Duration(r.Days)*24*time.Hour
		kept[i] = !tooMany && (!tooOld || i == 0 && !r.AllowEmpty)
	}
	return kept
}

// Born returns the time a version was made: what its name says, or else the time of
// its metadata. The directory's time would change with each delta.
func (v *FoundVersion) Born() time.Time {
	if t, ok := catalog.Time(v.Name); ok {
		return t
	}
	for _, c := range metaClasses {
		if f := v.first(c); f != nil {
			return time.Unix(0, f.Stamp.Mtime)
		}
	}
	return time.Unix(0, v.dir.Mtime)
}

// CompareVersions orders version names: as bytes, as clients do, or such that
// numbers in them count as numbers.
func CompareVersions(a, b string, natural bool) int {
	if natural {
		if c := slices.Compare(pieces(a), pieces(b)); c != 0 {
			return c
		}
	}
	return strings.Compare(a, b)
}

// pieces cuts a name into digits and the rest, and makes numbers of the same length
// comparable as text by putting the length before them.
func pieces(s string) []string {
	var list []string
	for len(s) > 0 {
		n := strings.IndexFunc(s, func(r rune) bool { return (r >= '0' && r <= '9') != (s[0] >= '0' && s[0] <= '9') })
		if n < 0 {
			n = len(s)
		}
		piece := s[:n]
		if s[0] >= '0' && s[0] <= '9' {
			piece = strings.TrimLeft(piece, "0")
			piece = string(rune('0'+len(piece))) + piece
		}
		list, s = append(list, piece), s[n:]
	}
	return list
}
