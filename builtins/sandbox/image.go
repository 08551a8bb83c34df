package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
)

// Images of file systems that only the kernel reads whole. The loop device is bound to its
// mount: when that goes, with the child at the latest, the kernel lets go of the device.

// mountImage returns a mount of what is in the image of a file system, which is not in the
// tree, and is only read unless it is to be written.
func mountImage(name, fstype string, writable bool) (int, error) {
	if host.Confined() {
		return -1, fmt.Errorf("cannot mount the %s image: the kernel does so for the machine's root only; run this as root, or unpack an archive", fstype)
	}
	device, err := loop(name, writable)
	if err != nil {
		return -1, fmt.Errorf("cannot mount the image of a file system without a loop device: %w", err)
	}
	defer device.Close()
	fsfd, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("this kernel does not know the file system %s: %w", fstype, err)
	}
	defer unix.Close(fsfd)
	settings := []func() error{
		func() error { return unix.FsconfigSetString(fsfd, "source", device.Name()) },
	}
	attrs := unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	if !writable {
		settings = append(settings, func() error { return unix.FsconfigSetFlag(fsfd, "ro") })
		attrs |= unix.MOUNT_ATTR_RDONLY
	}
	// What was not written to its end is not made good: the image is not to be changed.
	switch {
	case writable:
	case fstype == "ext4":
		settings = append(settings, func() error { return unix.FsconfigSetFlag(fsfd, "noload") })
	case fstype == "xfs":
		settings = append(settings,
			func() error { return unix.FsconfigSetFlag(fsfd, "norecovery") },
			func() error { return unix.FsconfigSetFlag(fsfd, "nouuid") })
	}
	settings = append(settings, func() error { return unix.FsconfigCreate(fsfd) })
	for _, set := range settings {
		if err := set(); err != nil {
			return -1, fmt.Errorf("cannot mount the %s image: %w", fstype, err)
		}
	}
	fd, err := unix.Fsmount(fsfd, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return -1, fmt.Errorf("cannot mount the %s image: %w", fstype, err)
	}
	return fd, nil
}

// loop returns a loop device that shows the file, for as long as it is in use.
func loop(name string, writable bool) (*os.File, error) {
	mode, flags := os.O_RDONLY, uint32(unix.LO_FLAGS_READ_ONLY)
	if writable {
		mode, flags = os.O_RDWR, 0
	}
	// By a mount of its own: one of the tree could not become read-only any more.
	own, err := detach(name, writable)
	if err != nil {
		return nil, err
	}
	defer unix.Close(own)
	file, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", own), mode, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(file.Fd())}
	config.Info.Flags = flags | unix.LO_FLAGS_AUTOCLEAR
	for range loopTries {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), mode, 0)
		if err != nil {
			return nil, err
		}
		if err = unix.IoctlLoopConfigure(int(device.Fd()), &config); err == nil {
			return device, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) { // another process has taken it meanwhile
			return nil, &fs.PathError{Op: "set up", Path: device.Name(), Err: err}
		}
	}
	return nil, errors.New("others take each free one first")
}

// loopTries is how often a free device may be lost to another process.
const loopTries = 64
