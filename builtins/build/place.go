package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"imagebuilder/builtins/dirfd"
)

// Where a root file system is to go that leaves the store, and what is there already.

// A place is a directory of the user's, or the name of one that is not there yet.
type place struct {
	path  string   // absolute; without symbolic links if it is there
	there bool     // as a directory
	stays bool     // it is filled, and not replaced itself
	names []string // what is in it
}

// placeAt looks at a place. A symbolic link to a directory is that directory.
func placeAt(name string) (place, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return place{}, err
	}
	p := place{path: abs}
	real, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) {
		at := abs // or what is above it: where there is a link to nothing no directory can be made
		for _, err := os.Lstat(at); errors.Is(err, fs.ErrNotExist); _, err = os.Lstat(at) {
			at = filepath.Dir(at)
		}
		_, err := os.Stat(at)
		switch nothing := errors.Is(err, fs.ErrNotExist); {
		case nothing && at == abs:
			return p, errors.New("it is a symbolic link to nothing; remove it first")
		case nothing:
			return p, fmt.Errorf("%s is a symbolic link to nothing; remove it first", at)
		}
		return p, nil
	}
	if err != nil {
		return p, err
	}
	p.path = real
	entries, err := os.ReadDir(real)
	if err != nil {
		return p, dirfd.Cause(err)
	}
	p.there = true
	for _, e := range entries {
		p.names = append(p.names, e.Name())
	}
	mounted, err := mountPoint(real)
	if mounted {
		// Where mkfs has put it, and wants it.
		p.names = slices.DeleteFunc(p.names, func(name string) bool { return name == "lost+found" })
	}
	p.stays = mounted || holdsCaller(real)
	return p, err
}

// holdsCaller tells whether our caller, who goes on from there, is in a directory.
func holdsCaller(dir string) bool {
	at, err := os.Getwd()
	if err == nil {
		at, err = filepath.EvalSymlinks(at)
	}
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(dir, at)
	return err == nil && filepath.IsLocal(rel)
}

// mountPoint tells whether something is mounted on a directory.
func mountPoint(dir string) (bool, error) {
	if dir == "/" {
		return true, nil
	}
	above, err := dirfd.Open(filepath.Dir(dir), dirfd.Refuse)
	if err != nil {
		return false, err
	}
	defer above.Close()
	return above.MountPoint(filepath.Base(dir))
}

// checkReplaceable refuses to replace what is neither empty nor a root file system, and
// what something is mounted in.
func (p place) checkReplaceable() error {
	has := func(name string) bool { return slices.Contains(p.names, name) }
	if len(p.names) > 0 && (!has("etc") || !has("usr") && !has("bin") || p.path == "/") {
		return errors.New("the directory is neither empty nor a root file system; remove it first")
	}
	return p.checkUnmounted()
}

// checkUnmounted refuses what something is mounted in, which nobody wants to lose.
func (p place) checkUnmounted() error {
	dir, err := dirfd.Open(p.path, dirfd.Refuse)
	if err != nil {
		return err
	}
	defer dir.Close()
	mounted, err := dir.Mounted("/")
	if err == nil && mounted != "" {
		err = fmt.Errorf("something is mounted on %s; unmount it first", filepath.Join(p.path, mounted))
	}
	return err
}
