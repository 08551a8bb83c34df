package sandbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Files that visit a root file system. They are a file of their own for how they leave:
// an image must not show that they were there.

// A visit is a file that was put into the image for the time of a step. It is removed
// afterwards, with the directories made for it, unless the step made it its own.
type visit struct {
	name    string
	content []byte
	ino     uint64
	made    []string      // missing directories, the deepest first
	before  unix.Stat_t   // the directory that held the first new name
	after   unix.Timespec // its modification time once the file was in
	where   string        // its path
}

// invite lays the guests over the root file system and returns those that have to leave.
// What is mounted over a file lies in scratch.
func invite(root *dirfd.Dir, guests []Guest, scratch string) ([]*visit, error) {
	var visits []*visit
	for i, g := range guests {
		add, err := g.settle(root, filepath.Join(scratch, fmt.Sprint("guest", i)))
		if err != nil {
			return visits, fmt.Errorf("cannot provide %s: %w", g.Path, err)
		}
		visits = append(visits, add...)
	}
	return visits, nil
}

func (g Guest) settle(root *dirfd.Dir, source string) ([]*visit, error) {
	if !g.Over {
		if !root.Exists(path.Dir(g.Path)) || root.Exists(g.Path) {
			return nil, nil
		}
		return enter(root, g.Path, g.Content, g.Mode)
	}
	if err := os.WriteFile(source, g.Content, os.FileMode(g.Mode)); err != nil {
		return nil, err
	}
	target, err := followLinks(root, g.Path)
	if err != nil {
		return nil, err
	}
	var visits []*visit
	if !root.Exists(target) {
		if visits, err = enter(root, target, nil, g.Mode); err != nil {
			return nil, err
		}
	}
	return visits, onto(root, target, func(target string) error {
		return unix.Mount(source, target, "", unix.MS_BIND, "")
	})
}

// enter makes the file name, which is not there, and its missing directories.
func enter(root *dirfd.Dir, name string, content []byte, mode uint32) ([]*visit, error) {
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
	if err := root.WriteFile(name, mode, func(w *bufio.Writer) error { _, err := w.Write(content); return err }); err != nil {
		return nil, err
	}
	st, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	v.ino = st.Ino
	dir, err := root.Lstat(v.where)
	v.after = dir.Mtim
	return []*visit{v}, err
}

// leave removes the file.
func (v *visit) leave(root *dirfd.Dir) error {
	st, err := root.Lstat(v.name)
	if err != nil || st.Ino != v.ino {
		return nil // the step removed or replaced it
	}
	data, err := root.ReadFile(v.name, int64(len(v.content)))
	if err != nil || !bytes.Equal(data, v.content) {
		return nil // the step wrote to it
	}
	dir, err := root.Lstat(v.where)
	if err != nil {
		return err
	}
	untouched := dir.Mtim == v.after
	if err := root.RemoveAll(v.name); err != nil {
		return err
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

// followLinks returns the path that a chain of symbolic links ends at, which need
// not be there.
func followLinks(root *dirfd.Dir, name string) (string, error) {
	for range 40 { // as many as the kernel follows
		text, err := root.Readlink(name)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
		if !path.IsAbs(text) {
			text = path.Join(path.Dir(name), text)
		}
		name = text
	}
	return "", fmt.Errorf("%s: %w", name, unix.ELOOP)
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
