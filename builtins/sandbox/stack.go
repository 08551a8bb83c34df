package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
)

// How layers become one file system. Only the child mounts.

// A Stack says how a root file system is put together: of layers, on which the changes
// of a step are stacked, or of one plain directory. Paths are those of the host.
type Stack struct {
	Lower    []string // layers, the lowest first
	Upper    string   // directory that takes the changes; empty: it is only read
	Work     string   // empty directory on the file system of Upper, for overlayfs
	Dir      string   // a plain directory that is changed in place, instead of all these
	ReadOnly bool     // Dir is not to be changed
	Copies   bool     // a directory of a layer below is not renamed, but copied by who wants that, as it is everywhere
	Point    string   // empty directory of the host to mount on, in the child's namespace only
}

// fresh tells whether nothing is in the root file system yet.
func (s *Stack) fresh() bool {
	if s.Dir == "" {
		return len(s.Lower) == 0
	}
	names, err := os.ReadDir(s.Dir)
	return err == nil && len(names) == 0
}

// mount puts the root file system together at point.
func (s *Stack) mount(point string) error { return s.mountFrom("overlay", point) }

// mountFrom is mount where the table of mounts is to name a device. It names that of the
// host where there are no layers.
func (s *Stack) mountFrom(device, point string) error {
	switch {
	case s.Dir != "":
		return bind(s.Dir, point, s.ReadOnly)
	case len(s.Lower) == 0: // nothing below: the first layer is an ordinary directory
		return bind(s.Upper, point, false)
	case len(s.Lower) == 1 && s.Upper == "": // overlayfs wants two
		return bind(s.Lower[0], point, true)
	}
	return s.overlay(device, point)
}

// overlay mounts the layers. The kernel takes at most a page of mount options, so
// layers are named by the numbers of open descriptors, from within /proc/self/fd.
func (s *Stack) overlay(device, point string) error {
	names := ""
	for i := len(s.Lower) - 1; i >= 0; i-- {
		fd, err := openPath(s.Lower[i])
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if names != "" {
			names += ":"
		}
		names += fmt.Sprint(fd)
	}
	options := "lowerdir=" + names
	if s.Upper != "" {
		upper, err := openPath(s.Upper)
		if err != nil {
			return err
		}
		defer unix.Close(upper)
		work, err := openPath(s.Work)
		if err != nil {
			return err
		}
		defer unix.Close(work)
		// volatile: a build step that is cut short is thrown away, the store syncs once.
		// redirect_dir: directories of lower layers can be renamed, as rpm does; what was
		// renamed before is found in any case. The other two are switched off since layers
		// outlive the mount.
		options += fmt.Sprintf(",upperdir=%d,workdir=%d,volatile,index=off,metacopy=off", upper, work)
		switch {
		case host.Confined(): // where mv and its like copy instead
		case s.Copies:
			options += ",redirect_dir=follow"
		default:
			options += ",redirect_dir=on"
		}
	}
	if host.Confined() { // whose root has no attributes of the kind trusted
		options += ",userxattr"
	}
	return mountOverlay("/proc/self/fd", device, point, options)
}

func mountOverlay(dir, device, point, options string) error {
	if len(options) >= os.Getpagesize() {
		return fmt.Errorf("internal error: overlay of %d bytes of options", len(options))
	}
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	err := unix.Mount(device, point, "overlay", 0, options)
	if cerr := unix.Chdir("/"); err == nil {
		err = cerr
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("cannot mount the layers: %w", err)
	}
	return fmt.Errorf("%w: %v", ErrOverlay, err)
}

func openPath(name string) (int, error) {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

func bind(source, point string, readOnly bool) error {
	flags := uintptr(unix.MS_BIND)
	if host.Confined() { // who must not uncover what the mounts of others hide
		flags |= unix.MS_REC
	}
	if err := unix.Mount(source, point, "", flags, ""); err != nil {
		return fmt.Errorf("cannot bind %s: %w", filepath.Base(source), err)
	}
	if !readOnly {
		return nil
	}
	return restrict(point, unix.MOUNT_ATTR_RDONLY)
}

// detachHost is detach for a file or directory of the host, which may have mounts of others
// below it: who is confined cannot have it without them.
func detachHost(name string, writable bool) (int, error) {
	if !host.Confined() {
		return detach(name, writable)
	}
	return clone(name, writable, unix.AT_RECURSIVE)
}

// restrict gives a mount an attribute such as read-only.
func restrict(point string, attr uint64) error {
	return unix.MountSetattr(unix.AT_FDCWD, point, 0, &unix.MountAttr{Attr_set: attr})
}

// unmount takes a mount and all below it away at once, not when the child ends, as
// the parent goes on to use the directories.
func unmount(point string) error {
	if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("cannot unmount the rootfs: %w", err)
	}
	return nil
}

// detach returns a mount of name that is not in the tree.
func detach(name string, writable bool) (int, error) { return clone(name, writable, 0) }

func clone(name string, writable bool, flags uint) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|flags)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	if writable {
		return fd, nil
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|flags, &attr); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot make %s read-only: %w", name, err)
	}
	return fd, nil
}
