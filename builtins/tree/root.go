// Package tree reaches the files inside a root file system: it resolves every
// path as the image itself would, so that a symbolic link in an image, absolute or
// not, can never make a read or a write land on the host. It does not mount
// anything and needs no privilege beyond that of the files themselves.
package tree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// A Root is an open directory that serves as "/" for all paths given to its
// methods. Errors name the path in the image, never that of the host.
type Root struct {
	dir *os.File
}

// Open opens the host's directory dir as a root.
func Open(dir string) (*Root, error) {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &Root{dir: f}, nil
}

// Close releases the directory.
func (r *Root) Close() error { return r.dir.Close() }

// OpenFile opens a file as open(2) would do after chroot(2); a final symbolic link
// is followed inside the root. A created file gets exactly mode, whatever the umask.
func (r *Root) OpenFile(name string, flags int, mode uint32) (*os.File, error) {
	fd, err := r.openat2(name, flags, mode)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: clean(name), Err: err}
	}
	return os.NewFile(uintptr(fd), clean(name)), nil
}

func (r *Root) openat2(name string, flags int, mode uint32) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC,
		Mode:    uint64(mode),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(int(r.dir.Fd()), clean(name), &how)
		// EAGAIN: something was renamed while a ".." was resolved; the kernel asks to try again.
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, err
		}
	}
}

// clean makes a path absolute and removes "." and "..", the latter against the root.
func clean(name string) string { return path.Clean("/" + name) }

// parent opens the directory that holds name and returns it with the last element.
// That element is not resolved.
func (r *Root) parent(op, name string) (*os.File, string, error) {
	name = clean(name)
	if name == "/" {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: errors.New("this is the root itself")}
	}
	fd, err := r.openat2(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), path.Dir(name)), path.Base(name), nil
}

// at runs do with the directory that holds name, and gives its error the path.
func (r *Root) at(op, name string, do func(dirfd int, base string) error) error {
	dir, base, err := r.parent(op, name)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := do(int(dir.Fd()), base); err != nil {
		return &fs.PathError{Op: op, Path: clean(name), Err: err}
	}
	return nil
}

// maxRead bounds what is read of a file into memory.
const maxRead = 64 << 20

// ReadFile returns the content of a regular file of at most 64 MiB.
func (r *Root) ReadFile(name string) ([]byte, error) {
	f, err := r.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: clean(name), Err: errors.New("not a regular file")}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRead+1))
	if err == nil && len(data) > maxRead {
		err = &fs.PathError{Op: "read", Path: clean(name), Err: fmt.Errorf("larger than %d bytes", maxRead)}
	}
	return data, err
}

// Lstat describes name without following it if it is a symbolic link.
func (r *Root) Lstat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	if clean(name) == "/" {
		return st, unix.Fstat(int(r.dir.Fd()), &st)
	}
	err := r.at("lstat", name, func(dirfd int, base string) error {
		return unix.Fstatat(dirfd, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return st, err
}

// Exists tells whether name is there; a dangling symbolic link is. As in the
// definition format, whatever cannot be looked at counts as existing.
func (r *Root) Exists(name string) bool {
	_, err := r.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR)
}

// Readlink returns the text of a symbolic link.
func (r *Root) Readlink(name string) (string, error) {
	var text string
	err := r.at("readlink", name, func(dirfd int, base string) error {
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dirfd, base, buf)
		if err == nil {
			text = string(buf[:n])
		}
		return err
	})
	return text, err
}

// MkdirAll creates a directory and its missing parents with exactly mode.
func (r *Root) MkdirAll(name string, mode uint32) error {
	fd, err := r.openat2(name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err == nil {
		return unix.Close(fd)
	}
	if err != unix.ENOENT {
		return &fs.PathError{Op: "mkdir", Path: clean(name), Err: err}
	}
	if err := r.MkdirAll(path.Dir(clean(name)), mode); err != nil {
		return err
	}
	return r.at("mkdir", name, func(dirfd int, base string) error {
		if err := unix.Mkdirat(dirfd, base, mode); err != nil {
			return err
		}
		return unix.Fchmodat(dirfd, base, mode, 0)
	})
}

// RemoveAll removes name and all below it; it is no error if it is not there. A
// symbolic link is removed, not what it points to.
func (r *Root) RemoveAll(name string) error {
	err := r.at("remove", name, func(dirfd int, base string) error {
		// os.RemoveAll works from an open parent and follows no link below it.
		return pathCause(os.RemoveAll(fmt.Sprintf("/proc/self/fd/%d/%s", dirfd, base)))
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	return err
}

// Clear removes everything in a directory and keeps the directory; it is no error if
// there is none.
func (r *Root) Clear(name string) error {
	names, err := r.ReadDir(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, base := range names {
		errs = append(errs, r.RemoveAll(path.Join(clean(name), base)))
	}
	return errors.Join(errs...)
}

// ReadDir returns the sorted names in a directory.
func (r *Root) ReadDir(name string) ([]string, error) {
	f, err := r.OpenFile(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return sortedNames(f)
}

// Symlink makes name a symbolic link with the given text. With replace, a file or
// link that is there gives way, and an empty directory.
func (r *Root) Symlink(text, name string, replace bool) error {
	return r.at("symlink", name, func(dirfd int, base string) error {
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
func (r *Root) Link(old, name string) error {
	return r.at("link", old, func(oldfd int, oldBase string) error {
		return r.at("link", name, func(dirfd int, base string) error {
			return unix.Linkat(oldfd, oldBase, dirfd, base, 0)
		})
	})
}

// Rename moves old to name, replacing what is there as rename(2) does.
func (r *Root) Rename(old, name string) error {
	return r.at("rename", old, func(oldfd int, oldBase string) error {
		return r.at("rename", name, func(dirfd int, base string) error {
			return unix.Renameat(oldfd, oldBase, dirfd, base)
		})
	})
}

// Chmod sets all twelve mode bits of the file that name resolves to.
func (r *Root) Chmod(name string, mode uint32) error {
	return r.onFile("chmod", name, func(fd int) error {
		return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
	})
}

// Chown sets owner and group of the file that name resolves to; -1 leaves one alone.
func (r *Root) Chown(name string, uid, gid int) error {
	return r.onFile("chown", name, func(fd int) error {
		return unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH)
	})
}

func (r *Root) onFile(op, name string, do func(fd int) error) error {
	fd, err := r.openat2(name, unix.O_PATH, 0)
	if err == nil {
		err = errors.Join(do(fd), unix.Close(fd))
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: clean(name), Err: pathCause(err)}
	}
	return nil
}

// pathCause strips the host's path from an error of package os.
func pathCause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// Glob returns the sorted paths that match a pattern of path.Match elements, such
// as "/etc/apt/sources.list.d/*.list". Only a malformed pattern is an error.
func (r *Root) Glob(pattern string) ([]string, error) {
	names, err := fs.Glob(rootFS{r}, strings.TrimPrefix(clean(pattern), "/"))
	for i, name := range names {
		names[i] = clean(name)
	}
	return names, err
}

// Devices returns the sorted paths of the device nodes at and below a directory. It is
// no error if there is none.
func (r *Root) Devices(dir string) ([]string, error) {
	st, err := r.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFBLK, unix.S_IFCHR:
		return []string{clean(dir)}, nil
	case unix.S_IFDIR:
	default:
		return nil, nil
	}
	names, err := r.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, base := range names {
		below, err := r.Devices(path.Join(clean(dir), base))
		if err != nil {
			return nil, err
		}
		found = append(found, below...)
	}
	return found, nil
}

// rootFS lets package io/fs look into a root.
type rootFS struct{ r *Root }

func (f rootFS) Open(name string) (fs.File, error) {
	return f.r.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
}

// Stat does not follow a final link, so that a glob finds dangling ones too.
func (f rootFS) Stat(name string) (fs.FileInfo, error) {
	dir, base, err := f.r.parent("stat", name)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return os.Lstat(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), base))
}
