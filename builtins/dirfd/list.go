package dirfd

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// What only looks at several names at once, and the way out for calls that know no handles.

// ReadDir returns the sorted names in a directory.
func (d *Dir) ReadDir(name string) ([]string, error) {
	f, err := d.OpenFile(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// List returns the sorted entries of a directory, with their types. Their Info method
// cannot be used.
func (d *Dir) List(name string) ([]fs.DirEntry, error) {
	fd, err := d.openat2(name, unix.O_RDONLY|unix.O_DIRECTORY, 0, false)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: d.shown(name), Err: err}
	}
	// Where the file system does not tell the types of entries, they are looked at by
	// the name of the directory: this one leads to it and nowhere else.
	f := os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd))
	defer f.Close()
	entries, err := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// Glob returns the sorted names that match a pattern of path.Match elements, such as
// "/etc/apt/sources.list.d/*.list". Only a malformed pattern is an error.
func (d *Dir) Glob(pattern string) ([]string, error) {
	names, err := fs.Glob(globbed{d}, strings.TrimPrefix(d.named(pattern), "/"))
	for i, name := range names {
		names[i] = d.shown(name)
	}
	return names, err
}

// globbed lets package io/fs look into a directory.
type globbed struct{ d *Dir }

func (g globbed) Open(name string) (fs.File, error) {
	return g.d.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
}

// Stat does not follow a final link, so that a glob finds dangling ones too.
func (g globbed) Stat(name string) (info fs.FileInfo, err error) {
	err = g.d.Look("stat", name, func(dirfd int, base string) (err error) {
		info, err = os.Lstat(procPath(dirfd, base))
		return err
	})
	return info, err
}

// procPath is a path of the host that names exactly base, through an open directory.
func procPath(dirfd int, base string) string {
	return path.Join("/proc/self/fd", fmt.Sprint(dirfd), base)
}

// ProcPath calls do with a path of the host that names exactly name, which is not
// resolved, for the calls that take a path and no handle.
func (d *Dir) ProcPath(op, name string, do func(hostPath string) error) error {
	if base := path.Base(d.named(name)); base == "/" || base == "." {
		return d.pathError(op, name, do(fmt.Sprintf("/proc/self/fd/%d/.", d.file.Fd())))
	}
	return d.Look(op, name, func(dirfd int, base string) error { return do(procPath(dirfd, base)) })
}
