package tree

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Device nodes have no place in the /dev of an image, which the first program that runs in it
// finds empty, and only the machine's root can make them: what is unpacked has none there, so
// that it is the same for all.

// DropDevices removes from a directory, whose content is to become that of the directory into,
// the device nodes that would be below /dev. Directories keep their times.
func DropDevices(root *dirfd.Dir, dir, into string) error {
	below := dir // where the directory is that becomes /dev, or is in it
	if into = path.Clean("/" + into); !inDev(into) {
		rest, ok := strings.CutPrefix("/dev", strings.TrimSuffix(into, "/")+"/")
		if !ok {
			return nil
		}
		below = path.Join(dir, rest)
	}
	st, err := root.Lstat(below)
	if notThere(err) || err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	if err != nil {
		return err
	}
	times := newDirTimes()
	var devices []string
	err = root.Walk(below, func(name string, st *unix.Stat_t) error {
		if !ofDevice(st.Mode) {
			return nil
		}
		devices = append(devices, name)
		return times.keep(root, path.Dir(name))
	})
	for _, name := range devices {
		if err == nil {
			err = root.Remove(name)
		}
	}
	return errors.Join(err, times.restore(root))
}

// inDev tells whether a path of an image is /dev or below it.
func inDev(name string) bool { return name == "/dev" || strings.HasPrefix(name, "/dev/") }

// ofDevice tells whether a mode is that of a device node.
func ofDevice(mode uint32) bool {
	return mode&unix.S_IFMT == unix.S_IFCHR || mode&unix.S_IFMT == unix.S_IFBLK
}

// mknod makes a file that is neither a regular one nor a directory or link.
func mknod(root *dirfd.Dir, name string, mode uint32, dev uint64) error {
	err := root.Change("mknod", name, func(dirfd int, base string) error {
		return unix.Mknodat(dirfd, base, mode, int(dev))
	})
	if ofDevice(mode) && errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%s is a device node, which only the machine's root can make: %w", name, unix.EPERM)
	}
	return err
}
