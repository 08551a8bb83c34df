package sandbox

import "golang.org/x/sys/unix"

// abis of an arm64 kernel. Numbers: include/uapi/asm-generic/unistd.h and
// arch/arm/tools/syscall.tbl of Linux (sync_file_range2 is 341 there, 405 is
// clock_adjtime64).
var abis = []abi{{
	arch: unix.AUDIT_ARCH_AARCH64,
	sync: []uint32{
		unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC, unix.SYS_SYNCFS, unix.SYS_MSYNC, unix.SYS_SYNC_FILE_RANGE,
	},
	refused: []uint32{
		unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN,
		unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME, unix.SYS_FANOTIFY_INIT,
	},
	absent:  []uint32{unix.SYS_MOUNT_SETATTR, openTreeAttr, unix.SYS_FSPICK, unix.SYS_FSOPEN},
	mknodat: unix.SYS_MKNODAT, mount: unix.SYS_MOUNT, umounts: []uint32{unix.SYS_UMOUNT2},
	ioctl: unix.SYS_IOCTL,
}, {
	arch:    unix.AUDIT_ARCH_ARM,
	sync:    []uint32{118, 148, 36, 373, 144, 341},
	refused: []uint32{309, 310, 311, 386, 364, 124, 372, 405, 367},
	absent:  []uint32{442, openTreeAttr, 433, 430},
	mknod:   14, mknodat: 324, mount: 21, umounts: []uint32{52}, ioctl: 54,
}}
