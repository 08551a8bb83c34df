package sandbox

import (
	"bytes"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Which file systems programs may mount. The filter of system calls cannot read names, so
// it asks this process. Who changes a name while it is being judged gets what it likes:
// this keeps scripts from what they should not do, it is no wall against an attack.

// hostWide are the file systems that are the host's wherever they are mounted: its
// devices, its control groups, its registers of programs and keys.
var hostWide = []string{
	"binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devtmpfs", "efivarfs", "functionfs", "fusectl", "nfsd",
	"pstore", "resctrl", "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "tracefs",
}

// A question is what the kernel wants to know, and a verdict the answer (struct
// seccomp_notif and seccomp_notif_resp of seccomp_unotify(2)).
type question struct {
	id         uint64
	pid, flags uint32
	nr, arch   uint32
	ip         uint64
	args       [6]uint64
}

type verdict struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// ioctlNotifSend is SECCOMP_IOCTL_NOTIF_SEND.
const ioctlNotifSend = 0xc0182101

// judge answers the questions of a filter.
func judge(listener int, abis []abi) {
	for {
		var q question
		if errno := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&q)); errno != 0 {
			if errno == unix.EINTR || errno == unix.ENOENT { // who asked is gone
				continue
			}
			return
		}
		v := verdict{id: q.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if slices.Contains(hostWide, q.filesystem(abis)) {
			v = verdict{id: q.id, errno: -int32(unix.EPERM)}
		}
		ioctl(listener, ioctlNotifSend, unsafe.Pointer(&v)) // an error: who asked is gone
	}
}

func ioctl(fd int, request uintptr, arg unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	return errno
}

// filesystem is the name of the file system that is to be mounted; "": there is none to be
// read, and the kernel will say so.
func (q question) filesystem(abis []abi) string {
	at := q.args[0] // fsopen(name, flags)
	for _, a := range abis {
		if a.arch == q.arch && a.mount == q.nr { // mount(source, target, type, …)
			at = q.args[2]
		}
	}
	if at == 0 {
		return ""
	}
	// Not beyond the end of the page, where there may be nothing.
	page := uint64(os.Getpagesize())
	name := make([]byte, min(64, page-at%page))
	remote := []unix.RemoteIovec{{Base: uintptr(at), Len: len(name)}}
	local := []unix.Iovec{{Base: &name[0]}}
	local[0].SetLen(len(name))
	n, err := unix.ProcessVMReadv(int(q.pid), local, remote, 0)
	if err != nil {
		return ""
	}
	name, _, _ = bytes.Cut(name[:n], []byte{0})
	return string(name)
}
