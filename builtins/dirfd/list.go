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
// "/etc/apt/sources.list.d/*.list". The element ** stands for any number of directories,
// also none, and a pattern that ends in a slash matches directories only; neither follows
// links. Only a malformed pattern is an error.
func (d *Dir) Glob(pattern string) ([]string, error) {
	head, tail, deep := strings.Cut(pattern, "/**/")
	if !deep {
		return d.glob(pattern)
	}
	var names []string
	above, err := d.glob(head + "/")
	for _, dir := range above {
		below, _ := d.below(dir) // what cannot be read has nothing that matches
		for _, one := range append(below, dir) {
			found, err := d.Glob(unglobbed.Replace(one) + "/" + tail)
			if err != nil {
				return nil, err
			}
			names = append(names, found...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// unglobbed makes a name a pattern that it alone matches.
var unglobbed = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// below returns all directories below one.
func (d *Dir) below(dir string) ([]string, error) {
	var dirs []string
	entries, err := d.List(dir)
	for _, e := range entries {
		if e.IsDir() {
			name := path.Join(dir, e.Name())
			further, _ := d.below(name)
			dirs = append(append(dirs, name), further...)
		}
	}
	return dirs, err
}

// glob is Glob without **.
func (d *Dir) glob(pattern string) ([]string, error) {
	pattern, only := strings.CutSuffix(pattern, "/")
	if pattern == "" {
		return []string{"/"}, nil
	}
	names, err := fs.Glob(globbed{d}, strings.TrimPrefix(d.named(pattern), "/"))
	for i, name := range names {
		names[i] = d.shown(name)
	}
	if only {
		names = slices.DeleteFunc(names, func(name string) bool {
			st, err := d.Lstat(name)
			return err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR
		})
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
