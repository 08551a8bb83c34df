package dirfd

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"
)

// Changes of names and modes. They follow no link out of a root, and tests may make each
// of them fail.

// Mkdir makes a directory with exactly the mode.
func (d *Dir) Mkdir(name string, mode uint32) error {
	return d.Change("mkdir", name, func(dirfd int, base string) error {
		if err := unix.Mkdirat(dirfd, base, mode); err != nil {
			return err
		}
		return unix.Fchmodat(dirfd, base, mode, 0)
	})
}

// MkdirAll makes a directory and those above it that are missing, with exactly the mode.
func (d *Dir) MkdirAll(name string, mode uint32) error {
	fd, err := d.openat2(name, unix.O_PATH|unix.O_DIRECTORY, 0, true)
	if err == nil {
		return unix.Close(fd)
	}
	if err != unix.ENOENT {
		return &fs.PathError{Op: "mkdir", Path: d.shown(name), Err: err}
	}
	if err := d.MkdirAll(path.Dir(d.named(name)), mode); err != nil {
		return err
	}
	err = d.Mkdir(name, mode)
	if errors.Is(err, fs.ErrExist) && d.links != InRoot {
		return nil // somebody was faster; in a root it is a dangling link
	}
	return err
}

// Symlink makes name a symbolic link with the given text. With replace, a file or link
// that is there gives way, and an empty directory.
func (d *Dir) Symlink(text, name string, replace bool) error {
	return d.Change("symlink", name, func(dirfd int, base string) error {
		err := unix.Symlinkat(text, dirfd, base)
		if err != unix.EEXIST || !replace {
			return err
		}
		err = unix.Unlinkat(dirfd, base, 0)
		if err == unix.EISDIR {
			err = unix.Unlinkat(dirfd, base, unix.AT_REMOVEDIR)
		}
		if err != nil {
			return err
		}
		return unix.Symlinkat(text, dirfd, base)
	})
}

// Link gives the file old a second name.
func (d *Dir) Link(old, name string) error {
	return d.at("link", old, true, func(oldfd int, oldBase string) error {
		return d.Change("link", name, func(dirfd int, base string) error {
			return unix.Linkat(oldfd, oldBase, dirfd, base, 0)
		})
	})
}

// Rename moves old to name, replacing what is there as rename(2) does.
func (d *Dir) Rename(old, name string) error { return d.Rename2(old, name, 0) }

// Rename2 renames with the flags of renameat2(2).
func (d *Dir) Rename2(old, name string, flags uint) error {
	return d.at("rename", old, true, func(oldfd int, oldBase string) error {
		return d.Change("rename", name, func(dirfd int, base string) error {
			return unix.Renameat2(oldfd, oldBase, dirfd, base, flags)
		})
	})
}

// RenameNew renames, unless the new name is taken. Where the file system cannot do that
// in one step it is looked at before.
func (d *Dir) RenameNew(old, name string) error {
	err := d.Rename2(old, name, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	if _, err := d.Lstat(name); err == nil {
		return &fs.PathError{Op: "rename", Path: d.shown(name), Err: fs.ErrExist}
	}
	return d.Rename(old, name)
}

// Supplant puts the file or directory old in place of name in one step. What was there
// before is then called old; it tells whether there was anything.
func (d *Dir) Supplant(old, name string) (replaced bool, err error) {
	err = d.Rename2(old, name, unix.RENAME_EXCHANGE)
	if errors.Is(err, fs.ErrNotExist) {
		return false, d.RenameNew(old, name)
	}
	return err == nil, err
}

// Chmod sets all twelve mode bits of the file that name resolves to.
func (d *Dir) Chmod(name string, mode uint32) error {
	return d.onFile("chmod", name, func(fd int) error {
		return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
	})
}

// Chown sets owner and group of the file that name resolves to; -1 leaves one alone.
func (d *Dir) Chown(name string, uid, gid int) error {
	return d.onFile("chown", name, func(fd int) error {
		return unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH)
	})
}

func (d *Dir) onFile(op, name string, do func(fd int) error) error {
	if err := d.allow(op, name); err != nil {
		return err
	}
	fd, err := d.openat2(name, unix.O_PATH, 0, true)
	if err == nil {
		err = errors.Join(do(fd), unix.Close(fd))
	}
	return d.pathError(op, name, err)
}

// Sync makes the names in a directory durable, or the content of a file.
func (d *Dir) Sync(name string) error {
	if err := d.allow("sync", name); err != nil {
		return err
	}
	f, err := d.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	err = errors.Join(f.Sync(), f.Close())
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil // some network file systems do this by themselves
	}
	return d.pathError("sync", name, err)
}
