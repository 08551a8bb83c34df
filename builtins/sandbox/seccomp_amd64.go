package sandbox

import "golang.org/x/sys/unix"

// abis of an x86-64 kernel. Numbers: arch/x86/entry/syscalls/syscall_64.tbl and
// syscall_32.tbl of Linux; calls of the x32 ABI carry bit 30.
var abis = []abi{
	{unix.AUDIT_ARCH_X86_64, []uint32{
		unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC, unix.SYS_SYNCFS, unix.SYS_MSYNC, unix.SYS_SYNC_FILE_RANGE,
		x32 | unix.SYS_FSYNC, x32 | unix.SYS_FDATASYNC, x32 | unix.SYS_SYNC, x32 | unix.SYS_SYNCFS,
		x32 | unix.SYS_MSYNC, x32 | unix.SYS_SYNC_FILE_RANGE,
	}},
	{unix.AUDIT_ARCH_I386, []uint32{118, 148, 36, 344, 144, 314}},
}

const x32 = 0x40000000
