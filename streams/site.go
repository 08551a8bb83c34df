package streams

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A site is the open root directory of an image server. All its methods take paths
// relative to it, with slashes. A symbolic link anywhere in a path is refused (or,
// with links, followed as long as it stays inside), so that neither a catalog nor
// whoever may upload can make the tool read, write or remove anything elsewhere.
type site struct {
	dir   *os.File
	name  string // as the user gave it, for messages
	links bool   // follow links that stay inside when reading

	// fault, if set, is asked before each change whether it shall fail. It is how
	// the tests prove that a failure at any point leaves a consistent tree.
	fault func(op, name string) error
}

func openSite(name string, links bool) (*site, error) {
	f, err := os.OpenFile(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &site{dir: f, name: name, links: links}, nil
}

func (s *site) close() error { return s.dir.Close() }

// open opens an existing file for reading.
func (s *site) open(name string) (*os.File, error) {
	return s.openat(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, s.links)
}

// openDir opens a directory for reading.
func (s *site) openDir(name string) (*os.File, error) {
	return s.openat(name, unix.O_RDONLY|unix.O_DIRECTORY, s.links)
}

// parent opens the directory that holds name, without following any link: it is
// used for changes. The caller closes it.
func (s *site) parent(name string) (fd int, err error) {
	fd, err = s.openFD(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY, false)
	if err != nil {
		err = &fs.PathError{Op: "open", Path: path.Dir(name), Err: err}
	}
	return fd, err
}

func (s *site) openat(name string, flags int, links bool) (*os.File, error) {
	fd, err := s.openFD(name, flags, links)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (s *site) openFD(name string, flags int, links bool) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
	}
	if !links {
		how.Resolve |= unix.RESOLVE_NO_SYMLINKS
	}
	if flags&unix.O_CREAT != 0 {
		how.Mode = 0o644
	}
	for {
		fd, err := unix.Openat2(int(s.dir.Fd()), name, &how)
		// EAGAIN: something was renamed meanwhile, and the kernel asks to try again.
		if err != unix.EAGAIN && err != unix.EINTR {
			return fd, err
		}
	}
}

// maxSmall bounds what is read of a file into memory as a whole.
const maxSmall = 4 << 20

// readFile returns the content of a small regular file.
func (s *site) readFile(name string) ([]byte, error) {
	f, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readRegular(f, maxSmall)
}

// readRegular returns the content of a regular file of at most limit bytes.
func readRegular(f *os.File, limit int64) ([]byte, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: errors.New("not a regular file")}
	}
	if st.Size() > limit {
		return nil, &fs.PathError{Op: "read", Path: f.Name(), Err: fmt.Errorf("larger than %d bytes", limit)}
	}
	data := make([]byte, st.Size())
	_, err = io.ReadFull(f, data) // one that shrinks meanwhile is an error
	return data, err
}

// stat describes a name without following it if it is a link.
func (s *site) stat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := s.inParent(name, func(dirfd int, base string) error {
		return unix.Fstatat(dirfd, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return st, pathError("stat", name, err)
}

// inParent runs do, which only looks, with the open directory that holds name.
func (s *site) inParent(name string, do func(dirfd int, base string) error) error {
	dir, err := s.openat(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY, s.links)
	if err != nil {
		return err
	}
	defer dir.Close()
	return ignoreEINTR(func() error { return do(int(dir.Fd()), path.Base(name)) })
}

// list returns the sorted entries of a directory. Their Info method cannot be used.
func (s *site) list(name string) ([]fs.DirEntry, error) {
	fd, err := s.openFD(name, unix.O_RDONLY|unix.O_DIRECTORY, s.links)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	// Where the file system does not tell the types of entries, they are looked at by
	// the name of the directory: this one leads to it and nowhere else.
	dir := os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd))
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// allow returns the error a test wants a change to have.
func (s *site) allow(op, name string) error {
	if s.fault == nil {
		return nil
	}
	return pathError(op, name, s.fault(op, name))
}

// change runs do with the open directory that holds name.
func (s *site) change(op, name string, do func(dirfd int, base string) error) error {
	if err := s.allow(op, name); err != nil {
		return err
	}
	dir, err := s.parent(name)
	if err != nil {
		return pathError(op, name, err)
	}
	defer unix.Close(dir)
	return pathError(op, name, ignoreEINTR(func() error { return do(dir, path.Base(name)) }))
}

// mkdirAll makes a directory and those above it that are missing, with mode 0755
// whatever the umask.
func (s *site) mkdirAll(name string) error {
	f, err := s.openat(name, unix.O_PATH|unix.O_DIRECTORY, false)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.mkdirAll(path.Dir(name)); err != nil {
		return err
	}
	if err := s.mkdir(name); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func (s *site) mkdir(name string) error {
	return s.change("mkdir", name, func(dirfd int, base string) error {
		if err := unix.Mkdirat(dirfd, base, 0o755); err != nil {
			return err
		}
		return unix.Fchmodat(dirfd, base, 0o755, 0)
	})
}

func (s *site) rename(old, name string) error { return s.rename2(old, name, 0) }

// rename2 renames with the flags of renameat2(2).
func (s *site) rename2(old, name string, flags uint) error {
	if path.Dir(old) == path.Dir(name) {
		return s.change("rename", name, func(dirfd int, base string) error {
			return unix.Renameat2(dirfd, path.Base(old), dirfd, base, flags)
		})
	}
	return s.from(old, func(oldfd int, oldBase string) error {
		return s.change("rename", name, func(dirfd int, base string) error {
			return unix.Renameat2(oldfd, oldBase, dirfd, base, flags)
		})
	})
}

// renameNew renames, unless the new name is taken. Where the file system cannot do
// that in one step it is looked at before.
func (s *site) renameNew(old, name string) error {
	err := s.rename2(old, name, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	if _, err := s.stat(name); err == nil {
		return &fs.PathError{Op: "rename", Path: name, Err: fs.ErrExist}
	}
	return s.rename(old, name)
}

// link gives old a second name.
func (s *site) link(old, name string) error {
	return s.from(old, func(oldfd int, oldBase string) error {
		return s.change("link", name, func(dirfd int, base string) error {
			return unix.Linkat(oldfd, oldBase, dirfd, base, 0)
		})
	})
}

// from runs do with the open directory that holds the first of two names.
func (s *site) from(old string, do func(dirfd int, base string) error) error {
	dir, err := s.parent(old)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return do(dir, path.Base(old))
}

// likeness gives a directory the mode of another and, where that is allowed, its
// owner.
func (s *site) likeness(name string, like *unix.Stat_t) error {
	dir, err := s.openat(name, unix.O_RDONLY|unix.O_DIRECTORY, false)
	if err != nil {
		return err
	}
	defer dir.Close()
	unix.Fchown(int(dir.Fd()), int(like.Uid), int(like.Gid)) // only root may give files away
	return pathError("chmod", name, unix.Fchmod(int(dir.Fd()), like.Mode&0o7777))
}

// remove removes a file or link; it is no error if it is not there.
func (s *site) remove(name string) error {
	err := s.change("remove", name, func(dirfd int, base string) error { return unix.Unlinkat(dirfd, base, 0) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// rmdir removes an empty directory.
func (s *site) rmdir(name string) error {
	return s.change("remove", name, func(dirfd int, base string) error {
		return unix.Unlinkat(dirfd, base, unix.AT_REMOVEDIR)
	})
}

// removeAll removes name and all below it, without following any link; it is no
// error if it is not there.
func (s *site) removeAll(name string) error {
	dir, err := s.openat(name, unix.O_RDONLY|unix.O_DIRECTORY, false)
	switch {
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP): // a file, or a link
		return s.remove(name)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	if err := errors.Join(s.empty(dir, name), dir.Close()); err != nil {
		return err
	}
	return s.rmdir(name)
}

// empty removes everything in an open directory.
func (s *site) empty(dir *os.File, name string) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, base := range names {
		full := path.Join(name, base)
		if err := s.allow("remove", full); err != nil {
			return err
		}
		err := ignoreEINTR(func() error { return unix.Unlinkat(int(dir.Fd()), base, 0) })
		if err == unix.EISDIR {
			err = s.removeAll(full)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return pathError("remove", full, err)
		}
	}
	return nil
}

// sync makes the names in a directory durable.
func (s *site) sync(name string) error {
	if err := s.allow("sync", name); err != nil {
		return err
	}
	dir, err := s.openat(name, unix.O_RDONLY|unix.O_DIRECTORY, false)
	if err != nil {
		return err
	}
	err = errors.Join(dir.Sync(), dir.Close())
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil // some network file systems do this by themselves
	}
	return pathError("sync", name, err)
}

func ignoreEINTR(do func() error) error {
	for {
		if err := do(); err != unix.EINTR {
			return err
		}
	}
}

// pathError gives a system call's error the path it is about.
func pathError(op, name string, err error) error {
	var pe *fs.PathError
	if err == nil || errors.As(err, &pe) {
		return err
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// statFile describes a file as open opens it: what a link stands for, where links are
// followed.
func (s *site) statFile(name string) (unix.Stat_t, error) {
	if s.links {
		return s.follow(name)
	}
	return s.stat(name)
}

// follow describes what a link stands for, as long as that is inside the site.
func (s *site) follow(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	f, err := s.openat(name, unix.O_PATH, true)
	if err != nil {
		return st, err
	}
	defer f.Close()
	return st, unix.Fstat(int(f.Fd()), &st)
}
