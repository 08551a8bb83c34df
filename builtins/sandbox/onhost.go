package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// The surroundings of programs of the host.

// onHost runs programs of the host. That is read-only to them, so that even a tool that
// fails halfway leaves no trace.
func (spec *Spec) onHost(programs Programs, in input, mounts detachedMounts, out outside) error {
	if err := spec.hideHost(); err != nil {
		return err
	}
	root, err := dirfd.Open("/", dirfd.InRoot)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := mounts.attach(root); err != nil {
		return err
	}
	r := runner{root: root, chroot: "/", dir: "tmp", in: in, spec: spec, outside: out}
	for _, m := range mounts {
		if m.into != nil {
			r.watched = m.into
		}
	}
	err = r.runAll(programs)
	for i, m := range mounts {
		if err == nil {
			err = m.into.finish()
		}
		if spec.Mounts[i].Stack != nil {
			err = errors.Join(err, unmount(m.at))
		}
		if spec.Mounts[i].FileSystem != "" && spec.Mounts[i].Writable {
			err = errors.Join(err, mounts[i].finish())
		}
	}
	return err
}

// hideHost makes the host's tree read-only and gives it fresh /proc, /tmp and /var/tmp,
// and a /dev with nothing of the host's: loop devices, which outlive programs, and disks,
// among them the host's own, are not there. Only what is temporary can be unmounted again.
func (spec *Spec) hideHost() error {
	devices, err := hostDevices()
	if err != nil {
		return err
	}
	defer devices.close()
	dir, err := rootDir()
	if err != nil {
		return err
	}
	err = atNamespaceRoot(func() error {
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NODEV}
		if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &attr); err != nil {
			return err
		}
		return forgetProcesses()
	})
	if err != nil {
		return fmt.Errorf("cannot make the host read-only: %w", err)
	}
	if err := procFS.mountProc(procFS.at); err != nil {
		return err
	}
	if err := freshDir("/dev", 0, "mode=0755"); err != nil {
		return err
	}
	root, err := dirfd.Open("/", dirfd.InRoot)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := makeDevices(root, devices); err != nil {
		return err
	}
	if err := root.Mkdir("/dev/shm", 0o755); err != nil {
		return err
	}
	if spec.AnyNode {
		if err := restrict("/dev", unix.MOUNT_ATTR_RDONLY); err != nil {
			return err
		}
	}
	for _, name := range spec.Hidden {
		if err := hide(name); err != nil {
			return fmt.Errorf("cannot hide %s: %w", name, err)
		}
	}
	if err := lockTree(dir); err != nil {
		return fmt.Errorf("cannot keep the host hidden: %w", err)
	}
	const nodev = unix.MS_NODEV
	return errors.Join(freshDir("/tmp", nodev, "mode=1777"), freshDir("/var/tmp", nodev, "mode=1777"), freshDir("/dev/shm", nodev, "mode=1777,size=20%"))
}

// freshDir lays an empty directory over one of the host.
func freshDir(name string, flags uintptr, options string) error {
	if err := unix.Mount("tmpfs", name, "tmpfs", flags, options); err != nil {
		return fmt.Errorf("cannot mount %s: %w", name, err)
	}
	return nil
}

// rootDir is where this process's root is in its mount namespace.
func rootDir() (dir string, err error) {
	err = atNamespaceRoot(func() error {
		dir, err = os.Readlink("/proc/self/root")
		return err
	})
	return dir, err
}

// lockTree puts in the place of this process's root, which is at dir, a copy of it in which nothing
// can be unmounted.
func lockTree(dir string) error {
	tree := -1
	err := atNamespaceRoot(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			return err
		}
		if err := lockMounts(filepath.Join(dir, procFS.at)); err != nil {
			return err
		}
		tree, err = clone(dir, true, unix.AT_RECURSIVE)
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	const point = "/tmp" // any directory
	if err := attachTo(tree, point); err != nil {
		return err
	}
	return pivot(point)
}

// forgetProcesses takes every /proc of the host away, since its processes lead to its files
// around all mounts. In a user namespace that cannot be, and nobody there can follow them.
func forgetProcesses() error {
	list, err := mountsOf("")
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(list) {
		if m.fstype != procFS.fstype {
			continue
		}
		err := unix.Unmount(m.at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) { // it is hidden
			return fmt.Errorf("%s: %w", m.at, err)
		}
	}
	return nil
}

// hide makes a file or directory of the host empty, if it is there.
func hide(name string) error {
	st, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.IsDir():
		return unix.Mount("tmpfs", name, "tmpfs", unix.MS_NODEV|unix.MS_RDONLY, "mode=0755,size=1m")
	}
	if err := bind("/dev/null", name, true); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil // it has gone
}

// hostSockets are the sockets that have a name in the host's tree: a file system that is
// read-only keeps nobody from those who listen there, and some of them do whatever root says.
func hostSockets() (list []string) {
	f, err := os.Open("/proc/net/unix")
	if err != nil {
		return nil // the kernel has no such sockets
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		i := strings.Index(lines.Text(), " /")
		if i < 0 { // it has no name, or one that is no file
			continue
		}
		name := lines.Text()[i+1:]
		if st, err := os.Lstat(name); err == nil && st.Mode()&fs.ModeSocket != 0 {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
