package streams

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// leaving is what has left the catalogs and still waits for its files to be removed, by
// path. Clients go by an old catalog for an hour, and their downloads take time.
type leaving map[string]departure

// A departure says when something left the catalogs, and what it was: another directory
// under its name has nothing to do with it.
type departure struct {
	since time.Time
	which string // as of site.identity; "": not known
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

const leavingPath = stateDir + "/leaving.json"

// readLeaving returns what is leaving. What is gone already, or was replaced, is not.
func (w *work) readLeaving() leaving {
	l := make(leaving)
	json.Unmarshal(w.site.readState(leavingPath), &l) // a damaged one is as good as none
	if l == nil {
		l = make(leaving) // the file said null
	}
	for name, d := range l {
		if !removable(name) || !w.site.is(name, d.which) {
			delete(l, name)
		}
	}
	return l
}

func (w *work) writeLeaving(l leaving) error { return w.site.writeState(leavingPath, l) }

// is tells whether a name still stands for what had an identity. If that cannot be
// told, it does.
func (s *site) is(name, which string) bool {
	now, err := s.identity(name)
	return !errors.Is(err, fs.ErrNotExist) && (err != nil || which == "" || now == which)
}

// identity tells a file or directory from any other that has its name later on. It does
// not change with the content. The inode may be used again at once, so that it serves
// only where the file system does not know when one was made.
func (s *site) identity(name string) (string, error) {
	var st unix.Statx_t
	err := s.inParent(name, func(dirfd int, base string) error {
		return unix.Statx(dirfd, base, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st)
	})
	switch {
	case err != nil:
		return "", pathError("stat", name, err)
	case st.Mask&unix.STATX_BTIME != 0:
		return fmt.Sprintf("born-%d.%09d", st.Btime.Sec, st.Btime.Nsec), nil
	}
	return fmt.Sprintf("inode-%d", st.Ino), nil
}
