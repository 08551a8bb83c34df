package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Files that visit a root file system. They are a file of their own for how they leave:
// an image must not show that they were there.

// A visit is a file that was put into the image for the time of a step. It is removed
// afterwards, with the directories made for it, unless the step made it its own.
type visit struct {
	guest   string // what it was to be
	name    string // what it is
	content []byte
	inode   inode
	made    []string      // missing directories, the deepest first
	before  unix.Stat_t   // the directory that held the first new name
	after   unix.Timespec // its modification time once the file was in
	where   string        // its path
	stash   string        // what it hides, in the directory of stashes; "": nothing
	left    bool          // it has been removed, being as it was
}

type inode struct{ dev, ino uint64 }

// stashes is the directory of the image that keeps what guests hide: one that programs do
// not see, since /proc is mounted on it.
const stashes = "/proc"

// invite lays the guests over the root file system and returns those that have to leave.
// stash is the directory of stashes, opened before it was mounted on. They do
// not hide what an earlier step of the session has put in their place.
func invite(root *dirfd.Dir, guests []Guest, stash *dirfd.Dir, s *session) ([]*visit, error) {
	var visits []*visit
	for i, g := range guests {
		v, err := g.settle(root, stash, fmt.Sprint("guest", i), s.owns(g.Path))
		if err != nil {
			return visits, fmt.Errorf("cannot provide %s: %w", g.Path, err)
		}
		if v != nil {
			v.guest = g.Path
			visits = append(visits, v)
		}
	}
	return visits, nil
}

// settle lays one guest over the root file system; what it hides gets a name among the
// stashes, unless it is there to stay.
func (g Guest) settle(root, stash *dirfd.Dir, name string, stays bool) (*visit, error) {
	if !g.Over {
		if !root.Exists(path.Dir(g.Path)) || root.Exists(g.Path) {
			return nil, nil
		}
		return enter(root, g.Path, g.Content, g.Mode)
	}
	target, err := resolve(root, g.Path)
	if errors.Is(err, unix.ELOOP) { // it leads nowhere, not even to where something could be
		target, err = g.Path, nil
	}
	if err != nil {
		return nil, err
	}
	if !root.Exists(target) {
		return enter(root, target, g.Content, g.Mode)
	}
	if stays {
		return nil, nil
	}
	dir, err := root.Lstat(path.Dir(target))
	if err != nil {
		return nil, err
	}
	err = root.Change("rename", target, func(dirfd int, base string) error {
		return unix.Renameat(dirfd, base, int(stash.File().Fd()), name)
	})
	if errors.Is(err, unix.EXDEV) { // it is not of the image, but of those who run there
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := enter(root, target, g.Content, g.Mode)
	if err == nil {
		v.stash, v.before = path.Join(stashes, name), dir
	}
	return v, err
}

// enter makes the file name, which is not there, and its missing directories.
func enter(root *dirfd.Dir, name string, content []byte, mode uint32) (*visit, error) {
	v := &visit{name: name, content: content, where: path.Dir(name)}
	for ; !root.Exists(v.where); v.where = path.Dir(v.where) {
		v.made = append(v.made, v.where)
	}
	var err error
	if v.before, err = root.Lstat(v.where); err != nil {
		return nil, err
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return nil, err
	}
	if err := root.WriteFile(name, mode, dirfd.Bytes(content)); err != nil {
		return nil, err
	}
	st, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	v.inode = inode{uint64(st.Dev), st.Ino}
	dir, err := root.Lstat(v.where)
	v.after = dir.Mtim
	return v, err
}

// leave removes the file, and gives what it hid its name again.
func (v *visit) leave(root *dirfd.Dir) error {
	if v.left {
		return nil
	}
	if !v.stayed(root) {
		return v.forget(root)
	}
	v.left = true
	dir, err := root.Lstat(v.where)
	if err != nil {
		return err
	}
	untouched := dir.Mtim == v.after
	if err := root.RemoveAll(v.name); err != nil {
		return err
	}
	if v.stash != "" {
		if err := root.Rename(v.stash, v.name); err != nil {
			return err
		}
	}
	for _, made := range v.made {
		if names, err := root.ReadDir(made); err != nil || len(names) > 0 {
			break
		}
		if err := root.RemoveAll(made); err != nil {
			return err
		}
	}
	if !untouched {
		return nil
	}
	// The step did not change the directory: nor did we, as far as the image shows.
	return onto(root, v.where, func(dir string) error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, dir, []unix.Timespec{v.before.Atim, v.before.Mtim}, 0)
	})
}

// stayed tells whether the file still is the one that was put there: the step may have
// removed or replaced it, or have written to it.
func (v *visit) stayed(root *dirfd.Dir) bool {
	st, err := root.Lstat(v.name)
	if err != nil || v.inode != (inode{uint64(st.Dev), st.Ino}) {
		return false
	}
	data, err := root.ReadFile(v.name, int64(len(v.content)))
	return err == nil && bytes.Equal(data, v.content)
}

// forget removes what the file hid, since the step has put another in its place.
func (v *visit) forget(root *dirfd.Dir) error {
	if v.stash == "" {
		return nil
	}
	return root.RemoveAll(v.stash)
}

// resolve returns the path that name leads to by all links on the way, which need not be
// there.
func resolve(root *dirfd.Dir, name string) (string, error) {
	at, rest := "/", strings.Split(name, "/")
	for links := 0; len(rest) > 0; {
		next := path.Join(at, rest[0])
		rest = rest[1:]
		if next == at || next == "/" {
			at = next
			continue
		}
		text, err := root.Readlink(next)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, fs.ErrNotExist) {
			at = next
			continue
		}
		if err != nil {
			return "", err
		}
		if links++; links > 40 { // as many as the kernel follows
			return "", fmt.Errorf("%s: %w", name, unix.ELOOP)
		}
		if path.IsAbs(text) {
			at = "/"
		}
		rest = append(strings.Split(text, "/"), rest...)
	}
	return at, nil
}

// onto calls do with a path of the host that names exactly what name resolves to in
// the image.
func onto(root *dirfd.Dir, name string, do func(target string) error) error {
	f, err := root.OpenFile(name, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}
