package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/tree"
)

// mounts are made inside a rootfs, in this order. What the image itself holds there
// is hidden from programs and stays as it is.
var mounts = []struct{ target, fstype, data string }{
	{"/proc", "proc", ""},
	{"/sys", "sysfs", "ro"},
	{"/run", "tmpfs", "mode=0755"},
	{"/tmp", "tmpfs", "mode=1777"},
	{"/dev", "tmpfs", "mode=0755"},
	{"/dev/shm", "tmpfs", "mode=1777"},
}

// devices are the character devices that programs inside find in /dev.
var devices = []struct {
	name         string
	major, minor uint32
	mode         uint32
}{
	{"console", 5, 1, 0o640},
	{"full", 1, 7, 0o666},
	{"null", 1, 3, 0o666},
	{"random", 1, 8, 0o666},
	{"tty", 5, 0, 0o666},
	{"urandom", 1, 9, 0o666},
	{"zero", 1, 5, 0o666},
}

var deviceLinks = map[string]string{
	"fd":     "/proc/self/fd",
	"stdin":  "/proc/self/fd/0",
	"stdout": "/proc/self/fd/1",
	"stderr": "/proc/self/fd/2",
}

// chroot runs the programs inside the rootfs. This process itself goes to an empty
// file system that holds little but the rootfs, so that not even a program that breaks
// out of its root finds the host.
func (spec *Spec) chroot() (err error) {
	point := spec.Rootfs.Point
	if err := unix.Mount("tmpfs", point, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("cannot mount a tmpfs: %w", err)
	}
	dir, proc := filepath.Join(point, "rootfs"), filepath.Join(point, "proc")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Mkdir(proc, 0o755)); err != nil {
		return err
	}
	// Package tree works through /proc/self/fd.
	if err := unix.Mount("proc", proc, "proc", 0, ""); err != nil {
		return fmt.Errorf("cannot mount /proc: %w", err)
	}
	if err := spec.Rootfs.mount(dir); err != nil {
		return err
	}
	root, err := tree.Open(dir)
	if err != nil {
		return err
	}
	guests, err := furnish(root, point)
	if err != nil {
		return errors.Join(err, root.Close())
	}
	if err := pivot(point); err != nil {
		return errors.Join(err, root.Close())
	}
	err = runner{root: root, chroot: "/rootfs", spec: spec}.runAll(spec.Chroot.Programs, spec.Chroot.Env)
	return errors.Join(err, root.Close(), tidy(guests))
}

// tidy takes all mounts away and then the guests, which mounts may have hidden.
func tidy(guests []*guest) error {
	bare, err := detach("/rootfs", true)
	if err != nil {
		return err
	}
	defer unix.Close(bare)
	if err := unmount("/rootfs"); err != nil {
		return err
	}
	root, err := tree.Open(fmt.Sprintf("/proc/self/fd/%d", bare))
	if err != nil {
		return err
	}
	for _, g := range guests {
		err = errors.Join(err, g.leave(root))
	}
	return errors.Join(err, root.Close())
}

// furnish mounts what programs expect inside root and returns the files it had to
// put into the image for that.
func furnish(root *tree.Root, point string) ([]*guest, error) {
	// Device nodes have no place in an image, only in the /dev mounted over it.
	if st, err := root.Lstat("/dev"); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR { // not where a link leads
		if err := root.Clear("/dev"); err != nil {
			return nil, err
		}
	}
	for _, m := range mounts {
		if err := mountIn(root, m.target, m.fstype, m.data); err != nil {
			return nil, fmt.Errorf("cannot mount %s: %w", m.target, err)
		}
	}
	for _, name := range hostSettings {
		if err := onto(root, name, freeze); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if err := makeDevices(root); err != nil {
		return nil, err
	}
	resolv, err := resolvConf(root, point)
	if err != nil {
		return nil, fmt.Errorf("cannot provide /etc/resolv.conf: %w", err)
	}
	policy, err := denyServices(root)
	if err != nil {
		return nil, fmt.Errorf("cannot provide %s: %w", policyFile, err)
	}
	return append(resolv, policy...), nil
}

// onto calls do with a path of the host that names exactly what name resolves to in
// the image.
func onto(root *tree.Root, name string, do func(target string) error) error {
	f, err := root.OpenFile(name, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return do(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

// mountIn mounts a file system on a directory of root, which stays in the image if it was
// not there: /tmp as one that everybody can use.
func mountIn(root *tree.Root, name, fstype, data string) error {
	if !root.Exists(name) {
		if err := root.MkdirAll(name, 0o755); err != nil {
			return err
		}
		if name == "/tmp" {
			if err := root.Chmod(name, 0o1777); err != nil {
				return err
			}
		}
	}
	return onto(root, name, func(target string) error {
		if data == "ro" {
			return unix.Mount(fstype, target, fstype, unix.MS_RDONLY, "")
		}
		return unix.Mount(fstype, target, fstype, 0, data)
	})
}

// hostSettings are where programs could change the host, whose kernel they run on, as
// far as it has them.
var hostSettings = []string{"/proc/sys", "/proc/sysrq-trigger"}

// freeze mounts a file or directory on itself, read-only.
func freeze(name string) error {
	fd, err := detach(name, false)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, name, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS); err != nil {
		return fmt.Errorf("cannot make %s read-only: %w", name, err)
	}
	return nil
}

func makeDevices(root *tree.Root) error {
	return onto(root, "/dev", func(dev string) error {
		for _, d := range devices {
			name := filepath.Join(dev, d.name)
			if err := unix.Mknod(name, unix.S_IFCHR|d.mode, int(unix.Mkdev(d.major, d.minor))); err != nil {
				return fmt.Errorf("cannot make /dev/%s: %w", d.name, err)
			}
			if err := unix.Chmod(name, d.mode); err != nil {
				return err
			}
		}
		for name, text := range deviceLinks {
			if err := os.Symlink(text, filepath.Join(dev, name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// resolvConf binds a copy of the host's /etc/resolv.conf over that of the image, so
// that neither the image's nor the host's is changed. Programs may unmount it and
// put another in its place.
func resolvConf(root *tree.Root, point string) ([]*guest, error) {
	const name = "/etc/resolv.conf"
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a host without network
	}
	if err != nil {
		return nil, err
	}
	source := filepath.Join(point, "resolv.conf")
	if err := os.WriteFile(source, data, 0o644); err != nil {
		return nil, err
	}
	target, err := followLinks(root, name)
	if err != nil {
		return nil, err
	}
	var guests []*guest
	if !root.Exists(target) {
		if guests, err = invite(root, target, nil, 0o644); err != nil {
			return nil, err
		}
	}
	return guests, onto(root, target, func(target string) error {
		return unix.Mount(source, target, "", unix.MS_BIND, "")
	})
}

// followLinks returns the path that a chain of symbolic links ends at, which need
// not be there.
func followLinks(root *tree.Root, name string) (string, error) {
	for range 40 { // as many as the kernel follows
		text, err := root.Readlink(name)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
		if !path.IsAbs(text) {
			text = path.Join(path.Dir(name), text)
		}
		name = text
	}
	return "", fmt.Errorf("%s: %w", name, unix.ELOOP)
}

// policyFile, while it is there, keeps Debian's packages from starting services: 101
// is "action forbidden by policy" (https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt).
const policyFile = "/usr/sbin/policy-rc.d"

func denyServices(root *tree.Root) ([]*guest, error) {
	if !root.Exists(path.Dir(policyFile)) || root.Exists(policyFile) {
		return nil, nil
	}
	return invite(root, policyFile, []byte("#!/bin/sh\nexit 101\n"), 0o755)
}

// pivot makes point the root of this process and of its namespace, and lets go of the
// host, also where the tool runs in a chroot, whose root need not be a mount.
func pivot(point string) error {
	if err := os.Mkdir(filepath.Join(point, "host"), 0o700); err != nil {
		return err
	}
	fd, err := unix.Open(point, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = atNamespaceRoot(func() error {
		if err := unix.Fchdir(fd); err != nil {
			return err
		}
		if err := unix.PivotRoot(".", "host"); err != nil {
			return fmt.Errorf("cannot change the root: %w", err)
		}
		return unix.Unmount("host", unix.MNT_DETACH)
	})
	// The threads that were in a chroot have stayed there.
	if err == nil {
		err = unix.Fchdir(fd)
	}
	if err == nil {
		err = unix.Chroot(".")
	}
	if err != nil {
		return fmt.Errorf("cannot let go of the host: %w", err)
	}
	return os.Remove("/host")
}

// A runner runs programs with everything the image or the host has in place.
type runner struct {
	root   *tree.Root // where they are looked up
	chroot string     // what this process calls that root
	dir    string     // their working directory; empty: /
	spec   *Spec
}

func (r runner) runAll(programs []Program, env []string) error {
	if r.spec.NoSync {
		if err := ignoreSync(); err != nil {
			return fmt.Errorf("cannot switch off syncing: %w", err)
		}
	}
	in := host.NewInit(r.spec.Grace)
	defer in.KillAll()
	for _, p := range programs {
		if err := r.run(in, p, env); err != nil {
			return err
		}
	}
	return nil
}
