package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Programs have fewer capabilities than the process that starts them. So its files, its
// root and its memory, which lead to the host, are closed to them: the kernel lets nobody
// look into a process that may do more (ptrace(2), "Ptrace access mode checking").

// kept are the capabilities that programs have: what package managers and what they run
// need inside an image. SYS_ADMIN is for the mounts that scripts make; what it would open
// beyond those, the filter of system calls and the namespaces see to.
var kept = map[uintptr]bool{
	unix.CAP_AUDIT_WRITE:      true, // PAM
	unix.CAP_CHOWN:            true,
	unix.CAP_DAC_OVERRIDE:     true,
	unix.CAP_FOWNER:           true,
	unix.CAP_FSETID:           true,
	unix.CAP_IPC_LOCK:         true, // gpg
	unix.CAP_IPC_OWNER:        true,
	unix.CAP_KILL:             true,
	unix.CAP_LEASE:            true,
	unix.CAP_LINUX_IMMUTABLE:  true, // chattr
	unix.CAP_MKNOD:            true,
	unix.CAP_NET_BIND_SERVICE: true,
	unix.CAP_NET_RAW:          true,
	unix.CAP_SETFCAP:          true,
	unix.CAP_SETGID:           true,
	unix.CAP_SETPCAP:          true,
	unix.CAP_SETUID:           true,
	unix.CAP_SYS_ADMIN:        true,
	unix.CAP_SYS_CHROOT:       true,
}

// dropCapabilities takes from what this thread starts all capabilities but those that are
// kept. The thread itself keeps them until it ends.
func dropCapabilities() error {
	for c := uintptr(0); ; c++ {
		_, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err == unix.EINVAL { // beyond the last
			return nil
		}
		if kept[c] {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("cannot drop capability %d: %w", c, err)
		}
	}
}
