package sandbox

import "golang.org/x/sys/unix"

// x32 is the bit that calls of the x32 ABI carry.
const x32 = 0x40000000

// abis of an x86-64 kernel. Numbers: arch/x86/entry/syscalls/syscall_64.tbl and
// syscall_32.tbl of Linux.
var abis = []abi{{
	arch: unix.AUDIT_ARCH_X86_64,
	sync: []uint32{
		unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC, unix.SYS_SYNCFS, unix.SYS_MSYNC, unix.SYS_SYNC_FILE_RANGE,
		x32 | unix.SYS_FSYNC, x32 | unix.SYS_FDATASYNC, x32 | unix.SYS_SYNC, x32 | unix.SYS_SYNCFS,
		x32 | unix.SYS_MSYNC, x32 | unix.SYS_SYNC_FILE_RANGE,
	},
	refused: []uint32{
		unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL, unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN,
		unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME, unix.SYS_FANOTIFY_INIT,
		x32 | unix.SYS_ADD_KEY, x32 | unix.SYS_REQUEST_KEY, x32 | unix.SYS_KEYCTL, x32 | unix.SYS_BPF, x32 | unix.SYS_PERF_EVENT_OPEN,
		x32 | unix.SYS_ADJTIMEX, x32 | unix.SYS_CLOCK_ADJTIME, x32 | unix.SYS_FANOTIFY_INIT,
		// What would need a look at its arguments is not to be had by way of x32.
		x32 | unix.SYS_MKNOD, x32 | unix.SYS_MKNODAT, x32 | unix.SYS_MOUNT, x32 | unix.SYS_UMOUNT2,
		x32 | 514, // ioctl, which has a number of its own
	},
	absent: []uint32{
		unix.SYS_MOUNT_SETATTR, openTreeAttr, unix.SYS_FSPICK, unix.SYS_FSOPEN,
		x32 | unix.SYS_MOUNT_SETATTR, x32 | openTreeAttr, x32 | unix.SYS_FSPICK, x32 | unix.SYS_FSOPEN, x32 | openTree,
	},
	mknod: unix.SYS_MKNOD, mknodat: unix.SYS_MKNODAT, mount: unix.SYS_MOUNT, umounts: []uint32{unix.SYS_UMOUNT2},
	ioctl: unix.SYS_IOCTL,
}, {
	arch:    unix.AUDIT_ARCH_I386,
	sync:    []uint32{118, 148, 36, 344, 144, 314},
	refused: []uint32{286, 287, 288, 357, 336, 124, 343, 405, 338}, // 405 is clock_adjtime64
	absent:  []uint32{442, openTreeAttr, 433, 430},
	mknod:   14, mknodat: 297, mount: 21, umounts: []uint32{52, 22}, ioctl: 54,
}}
