package lock

import (
	"bufio"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"imagebuilder/builtins/host"
)

// The time of what is made from a lock. Nothing is to be newer than an image says, so that it is
// that of the newest index.

// maxRelease is how much of an index is read to find its date.
const maxRelease = 64 << 10

// date notes the dates of what was got.
func (s *Session) date(rawURL string, c Content, modified string) {
	var index time.Time
	where, _, _ := strings.Cut(rawURL, "?")
	if name := path.Base(where); name == "InRelease" || name == "Release" {
		if f, err := s.Bodies.Open(c); err == nil {
			index = dateOf(f)
			f.Close()
		}
	}
	file, err := http.ParseTime(modified)
	s.mu.Lock()
	defer s.mu.Unlock()
	if index.After(s.dates[0]) {
		s.dates[0] = index
	}
	if err == nil && file.After(s.dates[1]) {
		s.dates[1] = file
	}
}

// dateOf is the date that the index of an archive of Debian bears, the zero time if none.
func dateOf(index io.Reader) time.Time {
	lines := bufio.NewScanner(io.LimitReader(index, maxRelease))
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), "Date:")
		if !ok {
			continue
		}
		for _, layout := range []string{time.RFC1123, time.RFC1123Z, "Mon, _2 Jan 2006 15:04:05 MST"} {
			if d, err := time.Parse(layout, strings.TrimSpace(text)); err == nil {
				return d
			}
		}
	}
	return time.Time{}
}

// newest is the time that nothing of what was got is newer than: that of the newest index, else
// of the newest file, else now.
func (s *Session) newest() time.Time {
	for _, d := range s.dates {
		if !d.IsZero() {
			return d
		}
	}
	return host.SystemClock()
}

// Epoch is the time of what is made from a lock, in seconds since 1970; "": it says none.
func (f *File) Epoch() string { return f.values[fact{epoch, ""}] }

// SetEpoch gives a lock another epoch.
func (f *File) SetEpoch(seconds string) { f.set(fact{epoch, ""}, seconds) }

// dated adds the epoch of what the run has got to that of a lock.
func (s *Session) dated(f *File) {
	seconds := strconv.FormatInt(max(s.newest().Unix(), 0), 10)
	if before := f.Epoch(); before != "" {
		if s.dates == [2]time.Time{} {
			return
		}
		seconds = newer(before, seconds)
	}
	f.SetEpoch(seconds)
}
