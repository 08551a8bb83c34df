package sandbox

import "golang.org/x/sys/unix"

// abis of an arm64 kernel. Numbers: include/uapi/asm-generic/unistd.h and
// arch/arm/tools/syscall.tbl of Linux (sync_file_range2 is 341 there).
var abis = []abi{
	{unix.AUDIT_ARCH_AARCH64, []uint32{
		unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC, unix.SYS_SYNCFS, unix.SYS_MSYNC, unix.SYS_SYNC_FILE_RANGE,
	}},
	{unix.AUDIT_ARCH_ARM, []uint32{118, 148, 36, 373, 144, 341}},
}
