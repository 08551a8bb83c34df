package sandbox

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// isolateSockets keeps what this thread starts from abstract sockets of the host, which
// belong to the network that programs may share with it, as far as the kernel can.
func isolateSockets() error {
	const version = 1 // LANDLOCK_CREATE_RULESET_VERSION
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, version)
	if errno != 0 || abi < 6 {
		return nil
	}
	// Of files it says nothing: else nothing could be mounted any longer.
	attr := unix.LandlockRulesetAttr{Scoped: unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return fmt.Errorf("cannot keep programs from sockets of the host: %w", errno)
	}
	defer unix.Close(int(fd))
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("cannot keep programs from sockets of the host: %w", errno)
	}
	return nil
}
