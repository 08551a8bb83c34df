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
	f, err := d.OpenFile(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return d.pathError("stat", name, err)
	}
	if err := visit(name, &st); err != nil {
		return err
	}
	return d.walk(f, name, visit)
}

// walk visits what is in an open directory.
func (d *Dir) walk(dir *os.File, name string, visit func(name string, st *unix.Stat_t) error) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return d.pathError("read", name, err)
	}
	slices.Sort(names)
	fd := int(dir.Fd())
	for _, base := range names {
		name := path.Join(name, base)
		var st unix.Stat_t
		if err := unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return d.pathError("stat", name, err)
		}
		if err := visit(name, &st); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		if err := d.walkInto(fd, base, name, visit); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) walkInto(dirfd int, base, name string, visit func(name string, st *unix.Stat_t) error) error {
	sub, err := subdirectory(dirfd, base, name)
	if errors.Is(err, unix.EXDEV) {
		err = ErrMounted
	}
	if err != nil {
		return d.pathError("open", name, err)
	}
	defer sub.Close()
	return d.walk(sub, name, visit)
}
