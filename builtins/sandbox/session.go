package sandbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/tree"
)

// What programs of one step leave to those of the next, where these are one session. It is
// kept in the root file system itself, so that it is part of what the step has made, but
// where programs do not see it: /proc is mounted above it.

// SessionDir is the directory of a root file system that holds a session. Whoever ends the
// session removes it.
const SessionDir = stashes + "/session"

// sessionMounts is the file in it that says what programs have mounted and unmounted.
const sessionMounts = "mounts"

// lasting are the directories that last as long as a session, by where programs find them.
var lasting = map[string]string{"/run": "run", "/tmp": "tmp", "/dev/shm": "shm"}

// A session is what lasts from one step to the next.
type session struct {
	dir    *dirfd.Dir // SessionDir
	mounts []mount    // those of the sandbox itself, before any program ran
}

// A mountChange is a mount, or what took one away, that programs have left.
type mountChange struct {
	At      string // in the root file system
	Gone    bool   `json:",omitempty"` // what was mounted there
	Bind    string `json:",omitempty"` // it shows this file or directory
	Content string `json:",omitempty"` // it holds what this directory of the session does
	Type    string `json:",omitempty"` // it is a file system of the kernel
	Attr    uint64 `json:",omitempty"` // attributes of the mount
}

// openSession opens the session that is in a root file system, or begins one. stash is the
// directory of stashes.
func openSession(stash *dirfd.Dir) (*session, error) {
	name := path.Base(SessionDir)
	if err := stash.MkdirAll(name, 0o700); err != nil {
		return nil, err
	}
	dir, err := stash.Sub(name)
	if err != nil {
		return nil, err
	}
	return &session{dir: dir}, nil
}

// close lets go of a session; there may be none.
func (s *session) close() error {
	if s == nil {
		return nil
	}
	return s.dir.Close()
}

// mountOn mounts a directory of the session where a file system of its own would be, and
// tells whether there is one.
func (s *session) mountOn(root *dirfd.Dir, target string, mode uint32) (bool, error) {
	if s == nil || lasting[target] == "" {
		return false, nil
	}
	name := lasting[target]
	if !s.dir.Exists(name) {
		if err := s.dir.Mkdir(name, mode); err != nil {
			return true, err
		}
	}
	return true, s.show(root, name, target)
}

// show mounts what is in the session at its place.
func (s *session) show(root *dirfd.Dir, name, target string) error {
	return onto(s.dir, name, func(source string) error { return bindOnto(root, source, target) })
}

// bindOnto mounts a file or directory, by a path that the kernel resolves to it, on one of
// the root file system.
func bindOnto(root *dirfd.Dir, source, target string) error {
	flags := uintptr(unix.MS_BIND)
	if isProc(source) { // it stays whole
		flags |= unix.MS_REC
	}
	return onto(root, target, func(target string) error { return unix.Mount(source, target, "", flags, "") })
}

// resume does again what programs have done to mounts.
func (s *session) resume(root *dirfd.Dir) (err error) {
	if s == nil {
		return nil
	}
	if s.mounts, err = mountsOf(chrootDir); err != nil {
		return err
	}
	text, err := s.dir.ReadFile(sessionMounts, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var changes []mountChange
	if err := json.Unmarshal(text, &changes); err != nil {
		return fmt.Errorf("cannot read the mounts of the session: %w", err)
	}
	for _, c := range changes {
		err := s.repeat(root, c)
		if err == nil && c.Attr != 0 {
			err = onto(root, c.At, func(target string) error { return restrict(target, c.Attr) })
		}
		if err != nil {
			return fmt.Errorf("cannot mount %s as the step before has: %w", c.At, dirfd.Cause(err))
		}
	}
	return nil
}

func (s *session) repeat(root *dirfd.Dir, c mountChange) error {
	switch {
	case c.Gone:
		return onto(root, c.At, func(target string) error { return unix.Unmount(target, unix.MNT_DETACH) })
	case c.Content != "":
		return s.show(root, c.Content, c.At)
	case c.Bind != "":
		return onto(root, c.Bind, func(source string) error { return bindOnto(root, source, c.At) })
	}
	for _, k := range []kernelFS{procFS, sysFS} {
		if c.Type == k.fstype {
			return k.show("/", root, c.At)
		}
	}
	return mountIn(root, c.At, c.Type, unix.MS_NODEV, "")
}

// record keeps what programs have done to mounts. What cannot be kept is said on standard
// error, which is the output of the step.
func (s *session) record(root *dirfd.Dir) error {
	if s == nil {
		return nil
	}
	now, err := mountsOf(chrootDir)
	if err != nil {
		return err
	}
	now = withoutParts(now)
	changes := gone(withoutParts(s.mounts), now)
	kept := make(map[string]bool)
	for _, m := range now {
		if s.has(m) {
			continue
		}
		c, err := s.change(root, m)
		if err != nil {
			return fmt.Errorf("cannot keep what is mounted on %s: %w", m.at, err)
		}
		if c == nil {
			fmt.Fprintf(os.Stderr, "the %s on %s does not last beyond this step\n", m.fstype, m.at)
			continue
		}
		name, _, _ := strings.Cut(c.Content, "/") // it may be a directory in what is kept
		kept[name] = true
		changes = append(changes, *c)
	}
	if err := s.drop(kept); err != nil {
		return err
	}
	if len(changes) == 0 {
		return s.dir.RemoveAll(sessionMounts)
	}
	text, err := json.Marshal(changes)
	if err != nil {
		return err
	}
	return s.dir.Replace(sessionMounts, 0o600, dirfd.Bytes(text))
}

// has tells whether a mount was there before. Its number alone does not tell: the kernel gives
// that of a mount which is gone to the next.
func (s *session) has(m mount) bool { return slices.ContainsFunc(s.mounts, m.is) }

// gone are the mounts that are no longer there, those below others first.
func gone(before, now []mount) (changes []mountChange) {
	for _, old := range slices.Backward(before) {
		if !slices.ContainsFunc(now, old.is) {
			changes = append(changes, mountChange{At: old.at, Gone: true})
		}
	}
	return changes
}

// repeatable are the file systems that are the same wherever they are mounted.
var repeatable = []string{"devpts", "mqueue", "proc", "sysfs"}

// change says how a mount can be made again; nil: it cannot.
func (s *session) change(root *dirfd.Dir, m mount) (*mountChange, error) {
	c := &mountChange{At: m.at, Attr: m.attr}
	shown := m.shownBy(s.mounts)
	content, ours := strings.CutPrefix(shown, SessionDir+"/")
	switch {
	case ours: // it was kept before
		c.Content = content
	case shown != "" && !m.deleted():
		c.Bind = shown
	case m.fstype == "tmpfs", m.deleted():
		c.Content = s.unused()
		return c, s.keep(root, m, c.Content)
	case slices.Contains(repeatable, m.fstype):
		c.Type = m.fstype
	default:
		return nil, nil
	}
	return c, nil
}

// owned is the file of the session that says that a guest has become the session's own.
func owned(guest string) string { return "own " + strings.ReplaceAll(guest, "/", " ") }

// owns tells whether an earlier step has made a guest its own.
func (s *session) owns(guest string) bool { return s != nil && s.dir.Exists(owned(guest)) }

// own remembers, in the bare root file system, the guests that a step has made its own.
func own(root *dirfd.Dir, visits []*visit) error {
	for _, v := range visits {
		if v.left {
			continue
		}
		w, err := root.Create(path.Join(SessionDir, owned(v.guest)), 0o600)
		if err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	return nil
}

// unused returns a name that nothing in the session has.
func (s *session) unused() string {
	for i := 0; ; i++ {
		if name := fmt.Sprint("mount", i); !s.dir.Exists(name) {
			return name
		}
	}
}

// keep copies what a mount holds into the session, but not what is mounted below it; or the file
// that it is.
func (s *session) keep(root *dirfd.Dir, m mount, name string) error {
	st, err := root.Stat(m.at)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
		return s.keepFile(root, m.at, name, st)
	}
	if err == nil {
		err = s.dir.Mkdir(name, st.Mode&0o7777)
	}
	if err != nil || m.deleted() { // a directory that is gone is empty
		return err
	}
	to, err := s.dir.Sub(name)
	if err != nil {
		return err
	}
	defer to.Close()
	return onto(root, m.at, func(target string) error {
		fd, err := detach(target, true)
		if err != nil {
			return err
		}
		from, err := dirfd.Open(fmt.Sprintf("/proc/self/fd/%d", fd), dirfd.InRoot)
		unix.Close(fd)
		if err != nil {
			return err
		}
		defer from.Close()
		return new(tree.Copier).Copy(context.Background(), to, from)
	})
}

func (s *session) keepFile(root *dirfd.Dir, at, name string, st unix.Stat_t) error {
	in, err := root.OpenFile(at, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := s.dir.WriteFile(name, st.Mode&0o7777, func(w *bufio.Writer) error { _, err := w.ReadFrom(in); return err }); err != nil {
		return err
	}
	return s.dir.Chown(name, int(st.Uid), int(st.Gid))
}

// drop removes what the session holds of mounts that are no longer there.
func (s *session) drop(kept map[string]bool) error {
	names, err := s.dir.ReadDir(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, "mount") && name != sessionMounts && !kept[name] {
			if err := s.dir.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}
