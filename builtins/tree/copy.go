package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/xattr"
)

// Copies of whole trees, which must lose nothing that makes up an image.

// A Copier copies whole trees with all that makes up an image: types, modes,
// numeric owners, times, extended attributes (and so capabilities and ACLs), hard
// links, holes and device numbers.
type Copier struct {
	// Merge lets directories and files that exist in the destination stay or be
	// replaced; without it an existing name other than a directory is an error.
	Merge bool

	Epoch host.Epoch // no time is later than that of it, if there is one
	Omit  string     // a name at the top that is not copied, as the destination may be in the source

	links map[inode]string // files with several names, by where they were copied to
}

type inode struct{ dev, ino uint64 }

// Copy copies the content and the attributes of the root src to the root dst.
func (c *Copier) Copy(ctx context.Context, dst, src *dirfd.Dir) error {
	c.links = make(map[inode]string)
	return c.copyDir(ctx, dst, src, "/")
}

func (c *Copier) copyDir(ctx context.Context, dst, src *dirfd.Dir, dir string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	names, err := src.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, base := range names {
		if dir == "/" && base == c.Omit {
			continue
		}
		if err := c.copyNode(ctx, dst, src, path.Join(dir, base)); err != nil {
			return err
		}
	}
	// Attributes come last: filling a directory changes its times.
	return c.copyAttributes(dst, src, dir)
}

func (c *Copier) copyNode(ctx context.Context, dst, src *dirfd.Dir, name string) error {
	st, err := src.Lstat(name)
	if err != nil {
		return err
	}
	if done, err := c.link(dst, name, st); done || err != nil {
		return err
	}
	if c.Merge && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if err := dst.RemoveAll(name); err != nil {
			return err
		}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if err := makeDir(dst, name); err != nil {
			return err
		}
		return c.copyDir(ctx, dst, src, name)
	case unix.S_IFREG:
		err = copyRegular(dst, src, name)
	case unix.S_IFLNK:
		var text string
		if text, err = src.Readlink(name); err == nil {
			err = dst.Symlink(text, name, false)
		}
	default:
		err = mknod(dst, name, st.Mode, uint64(st.Rdev))
	}
	if err != nil {
		return err
	}
	return c.copyAttributes(dst, src, name)
}

// makeDir makes a directory, or keeps one that is there. A symbolic link to a
// directory is not one: what is below it would land elsewhere.
func makeDir(dst *dirfd.Dir, name string) error {
	return dst.Change("mkdir", name, func(dirfd int, base string) error {
		err := unix.Mkdirat(dirfd, base, 0o700)
		if err != unix.EEXIST {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstatat(dirfd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return unix.ENOTDIR
		}
		return nil
	})
}

// link makes name a further name of a file already copied, if it is one.
func (c *Copier) link(dst *dirfd.Dir, name string, st unix.Stat_t) (bool, error) {
	if st.Nlink < 2 || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return false, nil
	}
	key := inode{uint64(st.Dev), st.Ino}
	first, ok := c.links[key]
	if !ok {
		c.links[key] = name
		return false, nil
	}
	if c.Merge {
		if err := dst.RemoveAll(name); err != nil {
			return true, err
		}
	}
	return true, dst.Link(first, name)
}

func copyRegular(dst, src *dirfd.Dir, name string) error {
	in, err := src.OpenFile(name, unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := dst.OpenFile(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(copyData(out, in), out.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", clean(name), dirfd.Cause(err))
	}
	return nil
}

// copyData shares the blocks where the file system can, else copies what is not a hole.
func copyData(out, in *os.File) error {
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		return nil
	}
	st, err := in.Stat()
	if err != nil {
		return err
	}
	for offset := int64(0); offset < st.Size(); {
		start, err := in.Seek(offset, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // nothing but a hole to the end
			break
		}
		if err != nil {
			return err
		}
		end, err := in.Seek(start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if err := copyRange(out, in, start, end-start); err != nil {
			return err
		}
		offset = end
	}
	return out.Truncate(st.Size())
}

func copyRange(out, in *os.File, start, length int64) error {
	if _, err := in.Seek(start, io.SeekStart); err != nil {
		return err
	}
	if _, err := out.Seek(start, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(out, in, length)
	return err
}

// copyAttributes copies extended attributes, owner, mode and times of one name.
func (c *Copier) copyAttributes(dst, src *dirfd.Dir, name string) error {
	st, err := src.Lstat(name)
	if err != nil {
		return err
	}
	if c.Epoch != "" {
		if latest := unix.NsecToTimespec(c.Epoch.Clock()().UnixNano()); st.Mtim.Nano() > latest.Nano() {
			st.Mtim = latest
		}
	}
	return src.ProcPath("copy attributes", name, func(from string) error {
		return dst.ProcPath("copy attributes", name, func(to string) error { return setAttributes(to, from, &st) })
	})
}

func setAttributes(to, from string, st *unix.Stat_t) error {
	if err := unix.Lchown(to, int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(to, st.Mode&0o7777); err != nil {
			return err
		}
	}
	// After the owner, whose change drops capabilities.
	if err := copyXattrs(to, from); err != nil {
		return err
	}
	times := []unix.Timespec{st.Mtim, st.Mtim}
	return unix.UtimesNanoAt(unix.AT_FDCWD, to, times, unix.AT_SYMLINK_NOFOLLOW)
}

func copyXattrs(to, from string) error {
	names, err := xattr.List(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		value, err := xattr.Get(from, name)
		if err != nil {
			return fmt.Errorf("read attribute %s: %w", name, err)
		}
		if err := unix.Lsetxattr(to, name, value, 0); err != nil {
			return fmt.Errorf("set attribute %s: %w", name, err)
		}
	}
	return nil
}
