package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
)

// What a root file system is furnished with while programs run in it: kernel file systems,
// devices, and nothing that leads to the host.

// furniture is mounted inside a root file system, in this order, after /proc and /sys. What
// the image itself holds there is hidden from programs and stays as it is.
var furniture = []fitment{
	{"/run", unix.MS_NODEV, 0o755, "20%"},
	{"/tmp", unix.MS_NODEV, 0o1777, "50%"},
	{"/dev", 0, 0o755, "1m"},
	{"/dev/shm", unix.MS_NODEV, 0o1777, "20%"},
}

// A fitment is a tmpfs that programs expect.
type fitment struct {
	target string
	flags  uintptr
	mode   uint32
	size   string // in bytes or as a part of the memory
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

// furnish mounts what programs expect inside root, of a session if there is one. kernel is where
// file systems of the kernel are.
func furnish(root *dirfd.Dir, s *session, kernel string) error {
	// Device nodes have no place in an image, only in the /dev mounted over it.
	if st, err := root.Lstat("/dev"); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR { // not where a link leads
		if err := root.Clear("/dev"); err != nil {
			return err
		}
	}
	for _, k := range []kernelFS{procFS, sysFS} {
		err := makeTarget(root, k.at)
		if err == nil {
			err = k.show(kernel, root, k.at)
		}
		if err != nil {
			return fmt.Errorf("cannot mount %s: %w", k.at, err)
		}
	}
	for _, m := range furniture {
		err := makeTarget(root, m.target)
		there := false
		if err == nil {
			there, err = s.mountOn(root, m.target, m.mode)
		}
		if err == nil && !there {
			err = mountIn(root, m.target, "tmpfs", m.flags, fmt.Sprintf("mode=%o,size=%s", m.mode, m.size))
		}
		if err != nil {
			return fmt.Errorf("cannot mount %s: %w", m.target, err)
		}
	}
	devices, err := hostDevices()
	if err != nil {
		return err
	}
	defer devices.close()
	return makeDevices(root, devices)
}

// makeTarget makes a directory to mount on, which stays in the image if it was not there:
// /tmp as one that everybody can use.
func makeTarget(root *dirfd.Dir, name string) error {
	if root.Exists(name) {
		return nil
	}
	if err := root.MkdirAll(name, 0o755); err != nil || name != "/tmp" {
		return err
	}
	return root.Chmod(name, 0o1777)
}

// mountIn mounts a file system on a directory of root.
func mountIn(root *dirfd.Dir, name, fstype string, flags uintptr, data string) error {
	return onto(root, name, func(target string) error {
		return unix.Mount(fstype, target, fstype, flags, data)
	})
}

// hostDevices returns the devices of the host for those who are confined and can make none;
// none for others.
func hostDevices() (list detachedMounts, err error) {
	if !host.Confined() {
		return nil, nil
	}
	for _, d := range devices {
		fd, err := detach("/dev/"+d.name, true)
		if errors.Is(err, fs.ErrNotExist) { // as the console of some containers
			continue
		}
		if err != nil {
			list.close()
			return nil, err
		}
		list = append(list, detachedMount{fd: fd, at: "/dev/" + d.name})
	}
	return list, nil
}

// makeDevices makes what programs find in /dev: those of the host, if there are any.
func makeDevices(root *dirfd.Dir, ofHost detachedMounts) error {
	if err := ofHost.attach(root); err != nil {
		return err
	}
	return onto(root, "/dev", func(dev string) error {
		for _, d := range devices {
			if ofHost != nil {
				break
			}
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
