// Package dirfd works with files below an open directory: every name is resolved from
// that handle, so that no symbolic link, no ".." and no rename by somebody else can make
// a read or a write land elsewhere. It is the one place that calls openat2(2), makes
// files appear as a whole, and removes trees.
//
// What the directory is, the root file system of an image or the tree of an image server,
// is no concern of the package. It mounts nothing and needs no privilege beyond that of
// the files themselves.
package dirfd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// Links says what a symbolic link on the way to a file means.
type Links int

const (
	// InRoot follows links as if the directory were "/": absolute ones and ".." stay
	// inside. It is for root file systems, whose paths are written with a leading slash.
	InRoot Links = iota
	// Refuse takes any link on the way for an error.
	Refuse
	// Beneath follows links that stay inside, but only to look: changes refuse them.
	Beneath
)

// A Dir is an open directory. Names are slash-separated and relative to it; errors show
// them as they mean something to the user, never with the path of the directory.
type Dir struct {
	file  *os.File
	links Links

	// Fault, if set, is asked before each change whether that shall fail: it is how tests
	// prove that a failure at any point leaves a consistent tree.
	Fault func(op, name string) error
}

// Open opens a directory of the host.
func Open(name string, links Links) (*Dir, error) {
	f, err := os.OpenFile(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return New(f, links), nil
}

// New returns the directory of an open file, which is closed with it.
func New(f *os.File, links Links) *Dir { return &Dir{file: f, links: links} }

// Close releases the directory.
func (d *Dir) Close() error { return d.file.Close() }

// File is the open directory itself, to be handed on to another process.
func (d *Dir) File() *os.File { return d.file }

// Sub opens a directory below, which is worked in the same way.
func (d *Dir) Sub(name string) (*Dir, error) {
	f, err := d.OpenFile(name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &Dir{file: f, links: d.links, Fault: d.Fault}, nil
}

// shown is how messages name a file.
func (d *Dir) shown(name string) string {
	if d.links == InRoot {
		return path.Clean("/" + name)
	}
	return name
}

// named returns a name as system calls take it. As in a root, ".." ends at the top.
func (d *Dir) named(name string) string {
	if d.links == InRoot {
		return path.Clean("/" + name)
	}
	return name
}

// changing are the flags of open(2) with which a file is not only looked at.
const changing = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC

// OpenFile opens a file as open(2) does. A file that it creates gets the mode, whatever
// the umask, unless that would take bits away (see [Dir.Create]).
func (d *Dir) OpenFile(name string, flags int, mode uint32) (*os.File, error) {
	fd, err := d.openat2(name, flags, mode, flags&unix.O_PATH == 0 && flags&changing != 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: d.shown(name), Err: err}
	}
	return os.NewFile(uintptr(fd), d.shown(name)), nil
}

// openat2 opens a name. What is for a change follows no links out of a root.
func (d *Dir) openat2(name string, flags int, mode uint32, change bool) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(mode)
	}
	switch {
	case d.links == InRoot:
		how.Resolve |= unix.RESOLVE_IN_ROOT
	case d.links == Beneath && !change:
		how.Resolve |= unix.RESOLVE_BENEATH
	default:
		how.Resolve |= unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS
	}
	return openat2(int(d.file.Fd()), d.named(name), &how)
}

func openat2(dirfd int, name string, how *unix.OpenHow) (int, error) {
	for tries := 0; ; tries++ {
		fd, err := unix.Openat2(dirfd, name, how)
		// EAGAIN: something was renamed while a ".." was resolved; the kernel asks to try again. Of a
		// root that archives are unpacked below it does so for ever where a ".." comes before a name that
		// is not there.
		if err != unix.EAGAIN && err != unix.EINTR || err == unix.EAGAIN && tries > 10000 {
			return fd, err
		}
	}
}

// Look runs do with the open directory that holds name and the last element of it, which
// is not resolved. do only looks.
func (d *Dir) Look(op, name string, do func(dirfd int, base string) error) error {
	return d.at(op, name, false, do)
}

// Change is Look for a change.
func (d *Dir) Change(op, name string, do func(dirfd int, base string) error) error {
	if err := d.allow(op, name); err != nil {
		return err
	}
	return d.at(op, name, true, do)
}

func (d *Dir) at(op, name string, change bool, do func(dirfd int, base string) error) error {
	clean := d.named(name)
	if base := path.Base(clean); base == "/" || base == "." || base == ".." {
		return &fs.PathError{Op: op, Path: d.shown(name), Err: errors.New("this is the directory itself")}
	}
	fd := int(d.file.Fd())
	if parent := path.Dir(clean); parent != "." && parent != "/" {
		var err error
		if fd, err = d.openat2(parent, unix.O_PATH|unix.O_DIRECTORY, 0, change); err != nil {
			return &fs.PathError{Op: op, Path: d.shown(name), Err: err}
		}
		defer unix.Close(fd)
	}
	for {
		var err error
		if err = do(fd, path.Base(clean)); err != unix.EINTR {
			return d.pathError(op, name, err)
		}
	}
}

// allow returns the error that a test wants a change to have.
func (d *Dir) allow(op, name string) error {
	if d.Fault == nil {
		return nil
	}
	return d.pathError(op, name, d.Fault(op, name))
}

// pathError gives the error of a system call the name it is about, and that of package os
// the name in place of the path of the host.
func (d *Dir) pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: d.shown(name), Err: Cause(err)}
}

// Cause returns an error without the path, where that is said otherwise.
func Cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// ReadFile returns the content of a regular file of at most max bytes. It does not wait
// for the other end of a named pipe.
func (d *Dir) ReadFile(name string, max int64) ([]byte, error) {
	f, err := d.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadRegular(f, max)
}

// ErrNotRegular is the cause where something else than a regular file is to be read.
var ErrNotRegular = errors.New("not a regular file")

// ReadRegular returns the content of an open regular file of at most max bytes.
func ReadRegular(f *os.File, max int64) ([]byte, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: ErrNotRegular}
	}
	var data bytes.Buffer
	if st.Size() <= max {
		data.Grow(int(st.Size()) + bytes.MinRead) // all of it at once, as long as it does not grow
		if _, err := data.ReadFrom(io.LimitReader(f, max+1)); err != nil {
			return nil, err
		}
	}
	switch {
	case st.Size() > max || int64(data.Len()) > max:
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: fmt.Errorf("larger than %d bytes", max)}
	case int64(data.Len()) < st.Size():
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: io.ErrUnexpectedEOF} // it shrinks meanwhile
	}
	return data.Bytes(), nil
}

// Lstat describes name without following it if it is a symbolic link.
func (d *Dir) Lstat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	if base := path.Base(d.named(name)); base == "/" || base == "." {
		return st, d.pathError("lstat", name, unix.Fstat(int(d.file.Fd()), &st))
	}
	err := d.Look("lstat", name, func(dirfd int, base string) error {
		return unix.Fstatat(dirfd, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return st, err
}

// Stat describes what OpenFile would open.
func (d *Dir) Stat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	f, err := d.OpenFile(name, unix.O_PATH, 0)
	if err != nil {
		return st, err
	}
	defer f.Close()
	return st, d.pathError("stat", name, unix.Fstat(int(f.Fd()), &st))
}

// Exists tells whether name is there; a dangling symbolic link is, and so is what cannot
// be looked at.
func (d *Dir) Exists(name string) bool {
	_, err := d.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR)
}

// Readlink returns the text of a symbolic link.
func (d *Dir) Readlink(name string) (string, error) {
	var text string
	err := d.Look("readlink", name, func(dirfd int, base string) error {
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dirfd, base, buf)
		if err == nil {
			text = string(buf[:n])
		}
		return err
	})
	return text, err
}

// Identity tells a file or directory from any other that has its name later on. It does
// not change with the content. The inode may be used again at once, so that it serves
// only where the file system does not know when one was made.
func (d *Dir) Identity(name string) (string, error) {
	var st unix.Statx_t
	err := d.Look("stat", name, func(dirfd int, base string) error {
		return unix.Statx(dirfd, base, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st)
	})
	switch {
	case err != nil:
		return "", err
	case st.Mask&unix.STATX_BTIME != 0:
		return fmt.Sprintf("born-%d.%09d", st.Btime.Sec, st.Btime.Nsec), nil
	}
	return fmt.Sprintf("inode-%d", st.Ino), nil
}
