package layer

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// What runs leave beside results: downloads that were cut, and what steps have printed. No
// lock of its own says that a run still needs it, so that only who is alone removes it.

// leftoverKinds are the directories with leftovers, and what these are.
var leftoverKinds = []struct{ dir, step string }{{"partial", "partial download"}, {"logs", "log"}}

// heaps are the directories of which all count as one, and what is in them.
var heaps = map[string]string{"packages": "packages that programs have fetched", "bodies": "answers that locks name"}

// Partial is the directory for files in the making that outlive a run, Logs that for
// what steps have printed. What is not touched there for a week is removed.
func (s *Store) Partial() string { return s.path("partial") }

// ForPartial adds to the name of a file in the making where something is noted about it.
const ForPartial = ".json"

// Packages is the directory for packages that programs have fetched: all of them count as one,
// that was used when the directory was last touched.
func (s *Store) Packages() string { return s.path("packages") }

// Bodies is the directory for what servers have sent to builds that are locked, which counts as
// packages do.
func (s *Store) Bodies() string { return s.path("bodies") }

// Logs returns the name of the directory for the logs of this run.
func (s *Store) Logs() string { return s.path(s.logs) }

func logsName(now time.Time, pid int) string {
	return path.Join("logs", fmt.Sprintf("%s-%d", now.Format("20060102-150405"), pid))
}

// leftovers describes what runs have left, but for the logs of this one.
func (s *Store) leftovers() ([]Meta, error) {
	var list []Meta
	var errs []error
	for _, kind := range leftoverKinds {
		names, err := s.root.ReadDir(kind.dir)
		errs = append(errs, err)
		for _, name := range names {
			at := path.Join(kind.dir, name)
			st, err := s.root.Lstat(at)
			if err != nil || at == s.logs {
				continue
			}
			size := st.Blocks * 512
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				size = s.sizeOf(at)
			}
			if file, ok := strings.CutSuffix(at, ForPartial); ok && s.root.Exists(file) {
				continue // it goes with that
			}
			list = append(list, Meta{Key: name, Step: kind.step, Summary: at, Size: size, Used: time.Unix(st.Mtim.Unix()), leftover: at})
		}
	}
	for dir, what := range heaps {
		st, err := s.root.Lstat(dir)
		if err != nil {
			continue
		}
		if names, err := s.root.ReadDir(dir); err == nil && len(names) > 0 {
			list = append(list, Meta{Key: dir, Step: dir, Summary: fmt.Sprintf("%d %s", len(names), what),
				Size: s.sizeOf(dir), Used: time.Unix(st.Mtim.Unix()), leftover: dir})
		}
	}
	return list, errors.Join(errs...)
}

// removeLeftover removes what is described so.
func (s *Store) removeLeftover(m Meta) error {
	if heaps[m.leftover] != "" { // the directory stays for those that follow
		return s.root.Clear(m.leftover)
	}
	return errors.Join(s.root.RemoveAll(m.leftover), s.root.Remove(m.leftover+ForPartial))
}

// alone tells whether no other process has the store open, and keeps others from opening
// it until done is called.
func (s *Store) alone() (alone bool, done func() error) {
	alone = dirfd.Flock(s.use, unix.LOCK_EX|unix.LOCK_NB) == nil
	return alone, func() error { return dirfd.Flock(s.use, unix.LOCK_SH) }
}

// sweepOld removes what nobody came back for.
func (s *Store) sweepOld() error {
	list, err := s.leftovers()
	errs := []error{err}
	for _, m := range list {
		if time.Since(m.Used) > 7*24*time.Hour && m.leftover != "bodies" { // which locks need for longer
			errs = append(errs, s.removeLeftover(m))
		}
	}
	return errors.Join(errs...)
}
