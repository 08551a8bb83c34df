package dirfd

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Removal has a file of its own since it is the change that loses data: it goes by handles
// from one directory to the next, and never onto another mount.

// ErrMounted is the cause where something is mounted on what is to be removed.
var ErrMounted = errors.New("something is mounted there; unmount it first")

// Remove removes a file or link; it is no error if it is not there.
func (d *Dir) Remove(name string) error {
	return missingIsFine(d.Change("remove", name, func(dirfd int, base string) error {
		return unix.Unlinkat(dirfd, base, 0)
	}))
}

// Rmdir removes an empty directory.
func (d *Dir) Rmdir(name string) error {
	return d.Change("remove", name, func(dirfd int, base string) error {
		return unix.Unlinkat(dirfd, base, unix.AT_REMOVEDIR)
	})
}

// RemoveAll removes name and all below it, by handles: a symbolic link is removed, not
// what it points to, and a mount is never entered, which gives ErrMounted. It is no error
// if name is not there.
func (d *Dir) RemoveAll(name string) error {
	return missingIsFine(d.at("remove", name, true, func(dirfd int, base string) error {
		return d.removeAll(dirfd, base, name)
	}))
}

// Clear removes everything in a directory and keeps the directory; it is no error if
// there is none.
func (d *Dir) Clear(name string) error {
	f, err := d.OpenFile(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return missingIsFine(err)
	}
	defer f.Close()
	return d.pathError("remove", name, d.empty(f, name))
}

// removeAll removes base in an open directory. name is what messages call it.
func (d *Dir) removeAll(dirfd int, base, name string) error {
	if err := d.allow("remove", name); err != nil {
		return err
	}
	err := ignoringEINTR(func() error { return unix.Unlinkat(dirfd, base, 0) })
	if err != unix.EISDIR && err != unix.EPERM { // which some file systems say of directories
		return d.removed(name, err)
	}
	sub, serr := subdirectory(dirfd, base, name)
	if serr == unix.ENOTDIR {
		return d.removed(name, err)
	}
	if serr != nil {
		return d.removed(name, serr)
	}
	defer sub.Close()
	if err := d.empty(sub, name); err != nil {
		return err
	}
	return d.removed(name, ignoringEINTR(func() error { return unix.Unlinkat(dirfd, base, unix.AT_REMOVEDIR) }))
}

// removed is the error of a removal; that somebody was faster is none.
func (d *Dir) removed(name string, err error) error {
	switch err {
	case nil, unix.ENOENT:
		return nil
	case unix.EXDEV, unix.EBUSY:
		err = ErrMounted
	}
	return d.pathError("remove", name, err)
}

// subdirectory opens a directory, unless it is a link or something is mounted on it.
func subdirectory(dirfd int, base, name string) (*os.File, error) {
	return openAt(dirfd, base, name, unix.O_RDONLY|unix.O_DIRECTORY)
}

// empty removes everything in an open directory.
func (d *Dir) empty(dir *os.File, name string) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, base := range names {
		if err := d.removeAll(int(dir.Fd()), base, path.Join(name, base)); err != nil {
			return err
		}
	}
	return nil
}

// Mounted returns the first of what is mounted at or below a name, "" if nothing is. A
// bind mount of the same file system is one, too.
func (d *Dir) Mounted(name string) (found string, err error) {
	if base := path.Base(d.named(name)); base == "/" || base == "." {
		return d.mountedIn(int(d.file.Fd()), ".", name)
	}
	err = d.Look("stat", name, func(dirfd int, base string) (err error) {
		found, err = d.mountedAt(dirfd, base, name)
		return err
	})
	return found, missingIsFine(err)
}

// MountPoint tells whether something is mounted on name itself.
func (d *Dir) MountPoint(name string) (is bool, err error) {
	err = d.Look("stat", name, func(dirfd int, base string) error {
		var st unix.Statx_t
		err := unix.Statx(dirfd, base, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st)
		is = st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
		return err
	})
	return is, err
}

func (d *Dir) mountedAt(dirfd int, base, name string) (string, error) {
	var st unix.Statx_t
	err := unix.Statx(dirfd, base, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE, &st)
	switch {
	case err != nil:
		return "", d.pathError("stat", name, err)
	case st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0:
		return d.shown(name), nil
	case uint32(st.Mode)&unix.S_IFMT != unix.S_IFDIR:
		return "", nil
	}
	return d.mountedIn(dirfd, base, name)
}

func (d *Dir) mountedIn(dirfd int, base, name string) (string, error) {
	dir, err := subdirectory(dirfd, base, name)
	if err != nil {
		return "", d.pathError("open", name, err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return "", err
	}
	for _, base := range names {
		found, err := d.mountedAt(int(dir.Fd()), base, path.Join(name, base))
		if found != "" || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return found, err
		}
	}
	return "", nil
}

func ignoringEINTR(do func() error) error {
	for {
		if err := do(); err != unix.EINTR {
			return err
		}
	}
}

// missingIsFine is for removals: what is not there need not be removed.
func missingIsFine(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return err
}
