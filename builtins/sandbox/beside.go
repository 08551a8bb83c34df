package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/tree"
)

// beside runs programs of the host with the rootfs beside them. The host is
// read-only to them, so that even a tool that fails halfway leaves no trace.
func (spec *Spec) beside() (err error) {
	// Mounts are made, and taken off the tree again, before that becomes read-only and
	// before the new /tmp hides what may lie below the old one.
	clones := map[string]int{}
	defer func() {
		for _, fd := range clones {
			unix.Close(fd)
		}
	}()
	if err := spec.Rootfs.mount(spec.Rootfs.Point); err != nil {
		return err
	}
	if clones[RootfsDir], err = detach(spec.Rootfs.Point, true); err != nil {
		return err
	}
	if err := unmount(spec.Rootfs.Point); err != nil {
		return err
	}
	for _, f := range spec.Host.Files {
		if clones[filepath.Join(FilesDir, f.Name)], err = detach(f.Source, f.Writable); err != nil {
			return err
		}
	}
	if err := hideHost(); err != nil {
		return err
	}
	for target, fd := range clones {
		if err := attach(fd, target); err != nil {
			return fmt.Errorf("cannot mount %s: %w", target, err)
		}
	}
	root, err := tree.Open("/")
	if err != nil {
		return err
	}
	err = runner{root: root, chroot: "/", dir: "tmp", spec: spec}.runAll(spec.Host.Programs, spec.Host.Env)
	return errors.Join(err, root.Close(), unmount(RootfsDir))
}

// detach returns a mount of name that is not in the tree.
func detach(name string, writable bool) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	if writable {
		return fd, nil
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("cannot make %s read-only: %w", name, err)
	}
	return fd, nil
}

// attach puts a detached mount at target, which is below the new /tmp.
func attach(fd int, target string) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	var err error
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		err = os.WriteFile(target, nil, 0o644)
	}
	if err != nil {
		return err
	}
	return unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// hideHost makes the host's tree read-only and gives it fresh /proc, /tmp and /var/tmp.
func hideHost() error {
	err := atNamespaceRoot(func() error {
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
		return unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &attr)
	})
	if err != nil {
		return fmt.Errorf("cannot make the host read-only: %w", err)
	}
	for _, m := range []struct{ target, fstype, data string }{
		{"/proc", "proc", ""},
		{"/tmp", "tmpfs", "mode=1777"},
		{"/var/tmp", "tmpfs", "mode=1777"},
	} {
		if err := unix.Mount(m.fstype, m.target, m.fstype, 0, m.data); err != nil {
			return fmt.Errorf("cannot mount %s: %w", m.target, err)
		}
	}
	for _, name := range hostSettings {
		if err := freeze(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return hideLoops()
}

// hideLoops keeps programs from attaching loop devices, which outlive them.
func hideLoops() error {
	names, err := filepath.Glob("/dev/loop*")
	for _, name := range names {
		err = errors.Join(err, bind("/dev/null", name, false))
	}
	return err
}
