// Package xattr reads the extended attributes of files. It takes paths, as the kernel does,
// which are not followed at their end: those below an open directory come from package dirfd.
package xattr

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// overlay begin the names by which overlayfs keeps its own books: the second in a user
// namespace.
var overlay = [2]string{"trusted.overlay.", "user.overlay."}

// CutOverlay returns the rest of the name of an attribute of overlayfs.
func CutOverlay(name string) (rest string, is bool) {
	for _, prefix := range overlay {
		if rest, is := strings.CutPrefix(name, prefix); is {
			return rest, true
		}
	}
	return name, false
}

// SetOverlay sets an attribute of overlayfs: the first of its names, or the second where that is
// not allowed, as in a user namespace.
func SetOverlay(file, name, value string) error {
	err := unix.Lsetxattr(file, overlay[0]+name, []byte(value), 0)
	if err == unix.EPERM {
		err = unix.Lsetxattr(file, overlay[1]+name, []byte(value), 0)
	}
	return err
}

func isOverlay(name string) bool { _, is := CutOverlay(name); return is }

// List returns the sorted names of the attributes of a file but those of overlayfs.
func List(file string) ([]string, error) {
	names, err := All(file)
	return slices.DeleteFunc(names, isOverlay), err
}

// All returns the sorted names of all attributes of a file. Where the file system has none
// there are none.
func All(file string) ([]string, error) {
	size, err := unix.Llistxattr(file, nil)
	if err == unix.ENOTSUP || size == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	buf := make([]byte, size)
	if size, err = unix.Llistxattr(file, buf); err != nil {
		return nil, err
	}
	var names []string
	for _, name := range strings.Split(strings.TrimRight(string(buf[:size]), "\x00"), "\x00") {
		if name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Get returns the value of an attribute.
func Get(file, name string) ([]byte, error) {
	size, err := unix.Lgetxattr(file, name, nil)
	if err != nil || size == 0 {
		return nil, err
	}
	buf := make([]byte, size)
	size, err = unix.Lgetxattr(file, name, buf)
	if err != nil {
		return nil, err
	}
	return buf[:size], nil
}
