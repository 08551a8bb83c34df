package sandbox

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Mounts that are made before anything is hidden or read-only, and put in their places after
// that.

// A detachedMount is a mount that is not in the tree, and where it is to be.
type detachedMount struct {
	fd   int
	at   string
	into *unpacking // nil: it is a whole

	hidden string // directory of it that is empty; "": none
}

type detachedMounts []detachedMount

func (l detachedMounts) close() {
	for _, m := range l {
		if m.fd >= 0 {
			unix.Close(m.fd)
		}
		m.into.close()
	}
}

// detached makes the mounts of the spec.
func (spec *Spec) detached() (list detachedMounts, err error) {
	for _, m := range spec.Mounts {
		if !strings.HasPrefix(filepath.Clean(m.At), "/tmp/") {
			return list, fmt.Errorf("internal error: a mount at %s, which is not below /tmp", m.At)
		}
		one := detachedMount{fd: -1, at: m.At, hidden: m.Hidden}
		switch {
		case m.FileSystem != "":
			one.fd, err = mountImage(m.Source, m.FileSystem, m.Writable)
		case m.Stack == nil:
			one.fd, err = detachHost(m.Source, m.Writable)
		case m.Into != "":
			one.fd, one.into, err = m.Stack.unpacking(m)
		default:
			one.fd, err = m.Stack.detach()
		}
		if err != nil {
			return list, err
		}
		list = append(list, one)
		// A root file system that is begun has no nodes but those that programs make, of the usual
		// devices, which a bootstrap needs.
		if m.Stack == nil || spec.AnyNode || !m.Stack.fresh() {
			attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NODEV}
			if err := unix.MountSetattr(one.fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
				return list, fmt.Errorf("cannot close the devices of %s: %w", m.At, err)
			}
		}
	}
	return list, nil
}

// detach returns a mount of the root file system that is not in the tree.
func (s *Stack) detach() (int, error) {
	if err := s.mount(s.Point); err != nil {
		return -1, err
	}
	fd, err := detach(s.Point, true)
	if err != nil {
		return -1, err
	}
	if err := unmount(s.Point); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// attach puts the mounts at their places in root, which are below a fresh /tmp.
func (l detachedMounts) attach(root *dirfd.Dir) error {
	for _, m := range l {
		if err := m.attach(root); err != nil {
			return fmt.Errorf("cannot mount %s: %w", m.at, err)
		}
	}
	return nil
}

func (m detachedMount) attach(root *dirfd.Dir) error {
	var st unix.Stat_t
	if err := unix.Fstat(m.fd, &st); err != nil {
		return err
	}
	var err error
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		err = root.MkdirAll(m.at, 0o755)
	} else if err = root.MkdirAll(filepath.Dir(m.at), 0o755); err == nil {
		var w *dirfd.Writer
		if w, err = root.Create(m.at, 0o644); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		return err
	}
	if err = place(m.fd, root, m.at); err == nil {
		err = hideIn(root, m.at, m.hidden)
	}
	return err
}

// attachTo puts a mount that is not in the tree on a file or directory.
func attachTo(fd int, at string) error {
	return unix.MoveMount(fd, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS)
}

// place puts a mount that is not in the tree on a file or directory of root.
func place(fd int, root *dirfd.Dir, name string) error {
	return onto(root, name, func(target string) error { return attachTo(fd, target) })
}

// finish unmounts what is to be in its file when that is done, not some time after the end of
// this process.
func (m *detachedMount) finish() error {
	if err := unix.Close(m.fd); err != nil { // which keeps it mounted
		return err
	}
	m.fd = -1
	if err := unix.Unmount(m.at, 0); err != nil {
		return fmt.Errorf("cannot unmount %s: %w", m.at, err)
	}
	return nil
}
