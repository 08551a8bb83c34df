package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// What a root file system is furnished with while programs run in it: kernel file systems,
// devices, and nothing that leads to the host.

// furniture is mounted inside a root file system, in this order. What the image itself
// holds there is hidden from programs and stays as it is.
var furniture = []struct {
	target, fstype string
	flags          uintptr
	data           string
}{
	{"/proc", "proc", unix.MS_NODEV, ""},
	{"/sys", "sysfs", unix.MS_NODEV | unix.MS_RDONLY, ""},
	{"/run", "tmpfs", unix.MS_NODEV, "mode=0755,size=20%"}, // of the memory
	{"/tmp", "tmpfs", unix.MS_NODEV, "mode=1777,size=50%"},
	{"/dev", "tmpfs", 0, "mode=0755,size=1m"},
	{"/dev/shm", "tmpfs", unix.MS_NODEV, "mode=1777,size=20%"},
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

// hostSettings are where programs could change the host, whose kernel they run on, as
// far as it has them.
var hostSettings = []string{"/proc/sys", "/proc/sysrq-trigger"}

// furnish mounts what programs expect inside root.
func furnish(root *dirfd.Dir) error {
	// Device nodes have no place in an image, only in the /dev mounted over it.
	if st, err := root.Lstat("/dev"); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR { // not where a link leads
		if err := root.Clear("/dev"); err != nil {
			return err
		}
	}
	for _, m := range furniture {
		if err := mountIn(root, m.target, m.fstype, m.flags, m.data); err != nil {
			return fmt.Errorf("cannot mount %s: %w", m.target, err)
		}
	}
	for _, name := range hostSettings {
		if err := onto(root, name, freeze); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return makeDevices(root)
}

// mountIn mounts a file system on a directory of root, which stays in the image if it was
// not there: /tmp as one that everybody can use.
func mountIn(root *dirfd.Dir, name, fstype string, flags uintptr, data string) error {
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
		return unix.Mount(fstype, target, fstype, flags, data)
	})
}

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

func makeDevices(root *dirfd.Dir) error {
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
