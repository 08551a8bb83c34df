package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/xattr"
)

// ReadLayer adds what the archive of a layer holds to a tree, with all that makes up an
// image: types, modes, numeric owners, times, extended attributes, hard links and device
// numbers, but no device nodes below /dev. What has a name of the layer's gives way, but a directory is merged with one
// that is there, also where a symbolic link leads to that within the root. Whatever names
// and links say, nothing is reached but through the root.
//
// What the layer removes must have been removed before (see [ScanLayer]).
func ReadLayer(root *dirfd.Dir, r io.Reader) error {
	u := &unarchiver{root: root, links: make(linkNames), times: newDirTimes(), given: newDirTimes()}
	err := members(r, func(h *tar.Header, m member, content io.Reader) error {
		if m.removes != nil {
			return nil
		}
		if err := u.links.pass(h, m.path); err != nil {
			return err
		}
		if u.dropped(h, m.path) {
			return nil
		}
		if err := u.add(h, m.path, content); err != nil {
			return fmt.Errorf("cannot unpack %s: %w", m.path, err)
		}
		return nil
	})
	// What the layer says of a directory counts more than how it was.
	return errors.Join(err, u.times.restore(root), u.given.restore(root))
}

// An unarchiver puts the members of one archive into a tree.
type unarchiver struct {
	root  *dirfd.Dir
	links linkNames
	times *dirTimes // of directories that were there
	given *dirTimes // that the archive says
}

func (u *unarchiver) add(h *tar.Header, name string, content io.Reader) error {
	if err := u.parents(path.Dir(name), h); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		return u.directory(h, name)
	}
	if name == "/" {
		return errors.New("the root of an image is a directory")
	}
	if h.Typeflag != tar.TypeLink || u.linked(h) != name {
		if err := u.root.RemoveAll(name); err != nil {
			return err
		}
	}
	if err := u.make(h, name, content); err != nil || h.Typeflag == tar.TypeLink { // which has what the other name has
		return err
	}
	return u.attributes(u.root, name, h)
}

// dropped tells whether a member is a device node that has no place in an image, or a further
// name of one.
func (u *unarchiver) dropped(h *tar.Header, name string) bool {
	switch h.Typeflag {
	case tar.TypeChar, tar.TypeBlock:
		return inDev(name)
	case tar.TypeLink:
		return inDev(name) && inDev(u.linked(h)) && !u.root.Exists(u.linked(h))
	}
	return false
}

// parents makes the directories above a member that are missing, and remembers the times
// of those that are there.
func (u *unarchiver) parents(dir string, h *tar.Header) error {
	if u.times.named[dir] || u.root.Exists(dir) {
		return u.times.keep(u.root, dir)
	}
	if err := u.parents(path.Dir(dir), h); err != nil {
		return err
	}
	if err := u.root.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return u.times.set(u.root, dir, modTime(h))
}

func (u *unarchiver) directory(h *tar.Header, name string) error {
	st, err := u.root.Stat(name) // where it leads
	switch {
	case err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR:
	case err == nil || notThere(err):
		if err := u.root.RemoveAll(name); err != nil {
			return err
		}
		if err := u.root.Mkdir(name, 0o755); err != nil {
			return err
		}
	default:
		return err
	}
	if err := u.given.set(u.root, name, modTime(h)); err != nil {
		return err
	}
	sub, err := u.root.Sub(name)
	if err != nil {
		return err
	}
	return errors.Join(u.attributes(sub, "/", h), sub.Close())
}

// make makes a file of any type that is no directory.
func (u *unarchiver) make(h *tar.Header, name string, content io.Reader) error {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		f, err := u.root.OpenFile(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		return errors.Join(err, f.Close())
	case tar.TypeSymlink:
		return u.root.Symlink(h.Linkname, name, false)
	case tar.TypeLink:
		if old := u.linked(h); old != name {
			return u.root.Link(old, name)
		}
		return nil
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return u.node(h, name)
	}
	return fmt.Errorf("there is no file of the type %q", h.Typeflag)
}

// linked is the file that a hard link is a further name of. Its name is one of the root,
// like that of any member.
func (u *unarchiver) linked(h *tar.Header) string { return path.Clean("/" + h.Linkname) }

func (u *unarchiver) node(h *tar.Header, name string) error {
	mode, dev := uint32(unix.S_IFIFO), uint64(0)
	if h.Typeflag != tar.TypeFifo {
		mode = map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK}[h.Typeflag]
		if h.Devmajor < 0 || h.Devmajor > 1<<12-1 || h.Devminor < 0 || h.Devminor > 1<<20-1 {
			return fmt.Errorf("there is no device %d:%d", h.Devmajor, h.Devminor)
		}
		dev = unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
	}
	if mode == unix.S_IFCHR && dev == 0 { // with which overlayfs says that a name is removed
		return errors.New("there is no device 0:0")
	}
	return mknod(u.root, name, mode|0o600, dev)
}

// attributes gives a file what the archive says of it. The owner comes first: its change
// drops set-id bits and capabilities.
func (u *unarchiver) attributes(dir *dirfd.Dir, name string, h *tar.Header) error {
	return dir.ProcPath("set attributes", name, func(file string) error {
		if err := unix.Lchown(file, h.Uid, h.Gid); err != nil {
			return err
		}
		if h.Typeflag != tar.TypeSymlink {
			if err := unix.Chmod(file, uint32(h.Mode&0o7777)); err != nil {
				return err
			}
		}
		for record, value := range h.PAXRecords {
			if attr, is := strings.CutPrefix(record, attributeRecord); is {
				if err := setXattr(file, attr, value, h.Typeflag); err != nil {
					return fmt.Errorf("attribute %s: %w", attr, err)
				}
			}
		}
		times := []unix.Timespec{modTime(h), modTime(h)}
		return unix.UtimesNanoAt(unix.AT_FDCWD, file, times, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// setXattr sets an extended attribute. Not all that there are in the world can be set: of
// user's, links and devices have none, and a file system may know none of a kind.
func setXattr(file, attr, value string, kind byte) error {
	if _, ofOverlay := xattr.CutOverlay(attr); ofOverlay {
		return nil // they are of the layers on the machine it was made on
	}
	err := unix.Lsetxattr(file, attr, []byte(value), 0)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) && strings.HasPrefix(attr, "user.") && kind != tar.TypeReg && kind != tar.TypeDir {
		return nil
	}
	return err
}

// modTime is when a file was changed. Not every time that an archive can say is one that a
// file system knows.
func modTime(h *tar.Header) unix.Timespec {
	ts, err := unix.TimeToTimespec(h.ModTime)
	if err != nil {
		return unix.Timespec{}
	}
	return ts
}
