package dirfd

import (
	"errors"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// Walk visits a directory and all below it: a directory before what is in it, names in
// their order. It goes by handles from one directory to the next, onto no link, and into
// nothing that is mounted, which is an error. One call of the kernel for each name makes it
// the way to look at whole trees.
func (d *Dir) Walk(name string, visit func(name string, st *unix.Stat_t) error) error {
	return d.Scan(name, func(at At, st *unix.Stat_t) error { return visit(at.Name, st) })
}

// At is where a scan has come to.
type At struct {
	Dir   int    // the open directory that it is in; of where the scan began: that itself
	Base  string // what it is called there
	Name  string // as the scan's directory names it
	Depth int    // how far below where the scan began
}

// ProcPath is a path of the host that names exactly this, which is not resolved, for the
// calls that take a path and no handle. It is good as long as the visit lasts.
func (a At) ProcPath() string {
	if a.Base == "." {
		return procPath(a.Dir, "") + "/."
	}
	return procPath(a.Dir, a.Base)
}

// Scan is Walk for those who need the directories that it has open.
func (d *Dir) Scan(name string, visit func(at At, st *unix.Stat_t) error) error {
	f, err := d.OpenFile(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return d.pathError("stat", name, err)
	}
	if err := visit(At{int(f.Fd()), ".", name, 0}, &st); err != nil {
		return err
	}
	return d.scan(f, name, 1, visit)
}

// scan visits what is in an open directory.
func (d *Dir) scan(dir *os.File, name string, depth int, visit func(at At, st *unix.Stat_t) error) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return d.pathError("read", name, err)
	}
	slices.Sort(names)
	fd := int(dir.Fd())
	for i, base := range names {
		names[i] = "" // of a million names those that are done take no room
		name := path.Join(name, base)
		var st unix.Stat_t
		if err := unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return d.pathError("stat", name, err)
		}
		if err := visit(At{fd, base, name, depth}, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		if err := d.scanInto(fd, base, name, depth+1, visit); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) scanInto(dirfd int, base, name string, depth int, visit func(at At, st *unix.Stat_t) error) error {
	sub, err := subdirectory(dirfd, base, name)
	if errors.Is(err, unix.EXDEV) {
		err = ErrMounted
	}
	if err != nil {
		return d.pathError("open", name, err)
	}
	defer sub.Close()
	return d.scan(sub, name, depth, visit)
}

// OpenAt opens a name in an open directory: no link, and nothing that is mounted.
func OpenAt(dir *os.File, base string, flags int) (*os.File, error) {
	return openAt(int(dir.Fd()), base, base, flags)
}

// openAt opens what a file is then said to be called.
func openAt(dirfd int, base, name string, flags int) (*os.File, error) {
	fd, err := openat2(dirfd, base, &unix.OpenHow{
		Flags:   uint64(flags) | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
