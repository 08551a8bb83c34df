package tree

import (
	"context"
	"errors"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Moving what was made beside a tree into it, as unpacking it there would have put it.

// Unset is the mode of a directory to be moved of which nothing is said: it changes nothing
// about the directory that it is moved to.
const Unset = 0o001

// Move moves what is in the directory from into the directory into, which is made if it is
// not there, and removes from. Directories are merged, also where a symbolic link leads to
// one within the root; anything else gives way. Nothing is copied.
func Move(root *dirfd.Dir, from, into string) error {
	if err := root.MkdirAll(into, 0o755); err != nil {
		return err
	}
	if err := moveDir(root, from, into); err != nil {
		return err
	}
	return root.RemoveAll(from)
}

func moveDir(root *dirfd.Dir, from, into string) error {
	st, err := root.Lstat(from) // before what is moved out changes its times
	if err != nil {
		return err
	}
	names, err := root.ReadDir(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := moveNode(root, path.Join(from, name), path.Join(into, name)); err != nil {
			return err
		}
	}
	if st.Mode&0o7777 == Unset {
		return nil
	}
	target, err := root.Sub(into)
	if err != nil {
		return err
	}
	defer target.Close()
	return root.ProcPath("copy attributes", from, func(from string) error {
		return target.ProcPath("copy attributes", "/", func(to string) error { return setAttributes(to, from, &st) })
	})
}

func moveNode(root *dirfd.Dir, from, to string) error {
	st, err := root.Lstat(from)
	if err != nil {
		return err
	}
	there, err := root.Stat(to) // where it leads
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && there.Mode&unix.S_IFMT == unix.S_IFDIR {
		return moveDir(root, from, to)
	}
	if _, err := root.Lstat(to); err == nil {
		if err := root.RemoveAll(to); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return rename(root, from, to)
}

// rename is rename(2), also of a directory that overlayfs would have to copy, of which it leaves
// that to its caller.
func rename(root *dirfd.Dir, from, to string) error {
	err := root.Rename(from, to)
	if !errors.Is(err, unix.EXDEV) {
		return err
	}
	src, err := root.Sub(from)
	if err != nil {
		return err
	}
	defer src.Close()
	err = root.Change("rename", to, func(dirfd int, base string) error { return unix.Unlinkat(dirfd, base, unix.AT_REMOVEDIR) })
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := root.Mkdir(to, 0o700); err != nil {
		return err
	}
	dst, err := root.Sub(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	if err := new(Copier).Copy(context.Background(), dst, src); err != nil {
		return err
	}
	return root.RemoveAll(from)
}
