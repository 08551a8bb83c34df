package sandbox

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The filter of system calls that programs run under.

// An abi lists, for one of the architectures a program may be built for, the
// numbers of the system calls that wait for a disk: fsync, fdatasync, sync, syncfs,
// msync and sync_file_range.
type abi struct {
	arch  uint32
	calls []uint32
}

// ignoreSync makes these calls succeed at once, in this process and in all it
// starts. A step that is cut short is thrown away and the store syncs a finished one
// once, so that waiting for the disk in between buys nothing; it is worth most of a
// package manager's time on a slow one.
func ignoreSync() error {
	filter := syncFilter(abis)
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// TSYNC: for all threads. CAP_SYS_ADMIN stands in for no_new_privs, which would
	// break sudo and its like inside the image.
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}

// syncFilter assembles the program: for each architecture, compare the number of
// the call with each listed one; all else is allowed.
func syncFilter(abis []abi) []unix.SockFilter {
	const (
		offsetNr   = 0 // of struct seccomp_data
		offsetArch = 4
		load       = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal      = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret        = unix.BPF_RET | unix.BPF_K
	)
	succeed := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO} // errno 0
	allow := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW}

	filter := []unix.SockFilter{{Code: load, K: offsetArch}}
	for _, a := range abis {
		n := uint8(len(a.calls))
		filter = append(filter,
			unix.SockFilter{Code: equal, K: a.arch, Jf: n + 3}, // else on to the next architecture
			unix.SockFilter{Code: load, K: offsetNr})
		for i, nr := range a.calls {
			filter = append(filter, unix.SockFilter{Code: equal, K: nr, Jt: n - uint8(i)})
		}
		filter = append(filter, allow, succeed)
	}
	return append(filter, allow)
}
