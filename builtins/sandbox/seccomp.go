package sandbox

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The filter of system calls that programs run under: which of them do nothing, and which
// are refused since they reach beyond the namespaces of a step.

// An abi has, for one of the architectures a program may be built for, the numbers of the
// system calls that the filter knows. One that there is not has the number 0.
type abi struct {
	arch uint32

	// sync wait for a disk: fsync, fdatasync, sync, syncfs, msync and sync_file_range.
	sync []uint32
	// refused are add_key, request_key, keyctl, bpf, perf_event_open, adjtimex,
	// clock_adjtime and fanotify_init: keys, tracing and the clock are the kernel's, and who
	// watches a file system of the host is given its files, open as he likes.
	refused []uint32
	// absent are mount_setattr, open_tree_attr and fspick, with which a mount that is read-only
	// would not stay so, and fsopen, which does what mount(2) does. They look like calls that
	// the kernel does not have, for which mount(8) then uses mount(2), whose flags the filter
	// sees; from 2.39 on, no other error makes it. So does open_tree, where it is to show
	// something without what is mounted below it.
	absent []uint32

	mknod, mknodat uint32
	mount          uint32
	umounts        []uint32 // umount2, and umount where there is one
	ioctl          uint32
}

// Calls whose numbers are the same everywhere: open_tree (Linux 5.2) and open_tree_attr (6.15).
const (
	openTree     = 428
	openTreeAttr = 467
)

// usualNodes are the device numbers that programs may make nodes of, as mknod(2) takes
// them: those of devices, of /dev/ptmx, and of what overlayfs calls a whiteout.
func usualNodes() []uint32 {
	list := []uint32{0, uint32(unix.Mkdev(5, 2))}
	for _, d := range devices {
		list = append(list, uint32(unix.Mkdev(d.major, d.minor)))
	}
	return list
}

// filter applies the filter to this thread and to all it starts. With noSync, calls that
// wait for a disk succeed at once: a step that is cut short is thrown away and the store
// syncs a finished one once, so that waiting in between buys nothing; it is worth most of a
// package manager's time on a slow disk. With anyNode, nodes of any device can be made.
// What it asks is answered with the help of a thread outside.
func filter(noSync, anyNode bool, out outside) error {
	program := assemble(abis, noSync, anyNode)
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	// A signal would make the caller call again what is done already. Before Linux 5.19 it does.
	// CAP_SYS_ADMIN stands in for no_new_privs, which would break sudo and its like inside
	// the image.
	const waitKillable = 1 << 5 // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	var listener uintptr
	errno := unix.EINVAL
	for _, flags := range []uintptr{unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | waitKillable, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER} {
		if errno == unix.EINVAL {
			listener, _, errno = unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
		}
	}
	if errno != 0 {
		return errno
	}
	j, err := newJudge(int(listener), out)
	if err != nil {
		return err
	}
	go j.serve() // until the process ends
	return nil
}

// Offsets in struct seccomp_data. The lower halves of arguments come first on all
// architectures that have a list of calls.
const (
	offsetNr   = 0
	offsetArch = 4
)

func offsetArg(i uint32) uint32 { return 16 + 8*i }

const (
	load  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	bit   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K // it is set
	and   = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	jump  = unix.BPF_JMP | unix.BPF_JA
	ret   = unix.BPF_RET | unix.BPF_K
)

var (
	allow   = unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW}
	succeed = unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO} // errno 0
	ask     = unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_USER_NOTIF}
	refuse  = unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	unknown = unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)}
)

// assemble makes the program: for the architecture of the call, each rule in turn; what
// none of them is about is allowed.
func assemble(abis []abi, noSync, anyNode bool) []unix.SockFilter {
	program := []unix.SockFilter{{Code: load, K: offsetArch}}
	for _, a := range abis {
		rules := a.rules(noSync, anyNode)
		program = append(program,
			unix.SockFilter{Code: equal, K: a.arch, Jt: 1},
			unix.SockFilter{Code: jump, K: uint32(len(rules) + 2)}, // on to the next architecture
			unix.SockFilter{Code: load, K: offsetNr})
		program = append(append(program, rules...), allow)
	}
	return append(program, allow)
}

func (a abi) rules(noSync, anyNode bool) (rules []unix.SockFilter) {
	on := func(nr uint32, then ...unix.SockFilter) { // then ends the program
		if nr != 0 {
			rules = append(rules, unix.SockFilter{Code: equal, K: nr, Jf: uint8(len(then))})
			rules = append(rules, then...)
		}
	}
	if noSync {
		for _, nr := range a.sync {
			on(nr, succeed)
		}
	}
	for _, nr := range a.refused {
		on(nr, refuse)
	}
	for _, nr := range a.absent {
		on(nr, unknown)
	}
	if anyNode { // a node could be opened on a mount of their own
		on(a.mount, refuse)
	} else {
		on(a.mount, mountRule()...)
	}
	on(openTree, unix.SockFilter{Code: load, K: offsetArg(2)}, unix.SockFilter{Code: bit, K: unix.AT_RECURSIVE, Jt: 1},
		unix.SockFilter{Code: bit, K: unix.OPEN_TREE_CLONE, Jt: 1}, allow, unknown)
	for _, nr := range a.umounts {
		on(nr, ask)
	}
	on(a.ioctl, unix.SockFilter{Code: load, K: offsetArg(1)}, unix.SockFilter{Code: equal, K: unix.TIOCSTI, Jt: 2},
		unix.SockFilter{Code: equal, K: unix.TIOCLINUX, Jt: 1}, unix.SockFilter{Code: equal, K: unix.TIOCCONS, Jf: 1}, refuse, allow)
	if !anyNode {
		on(a.mknod, nodeRule(1)...)
		on(a.mknodat, nodeRule(2)...)
	}
	return rules
}

// mountRule refuses to change what a mount is, but asks where it becomes read-only, and about new
// mounts and what is shown without what is mounted below it.
func mountRule() []unix.SockFilter {
	const (
		flags   = 3
		magic   = 0xC0ED0000 // what old programs add to the flags, and the kernel takes away
		changes = unix.MS_MOVE | unix.MS_SHARED | unix.MS_PRIVATE | unix.MS_SLAVE | unix.MS_UNBINDABLE
	)
	return []unix.SockFilter{
		{Code: load, K: offsetArg(flags)},
		{Code: bit, K: unix.MS_REMOUNT, Jf: 4},
		{Code: bit, K: unix.MS_BIND, Jf: 2},
		{Code: bit, K: unix.MS_RDONLY, Jf: 1},
		ask,
		refuse,
		{Code: bit, K: unix.MS_BIND, Jf: 3},
		{Code: bit, K: unix.MS_REC, Jf: 1},
		allow,
		ask,
		{Code: and, K: 0xFFFF0000},
		{Code: equal, K: magic, Jf: 4},
		{Code: load, K: offsetArg(flags)},
		{Code: bit, K: unix.MS_MOVE, Jf: 1},
		allow,
		ask,
		{Code: load, K: offsetArg(flags)},
		{Code: bit, K: changes, Jf: 1},
		allow,
		ask,
	}
}

// nodeRule refuses block devices, and character devices that are not usual. mode is which
// argument has the mode of the node; the device is the next.
func nodeRule(mode uint32) []unix.SockFilter {
	usual := usualNodes()
	rule := []unix.SockFilter{
		{Code: load, K: offsetArg(mode)},
		{Code: and, K: unix.S_IFMT},
		{Code: equal, K: unix.S_IFBLK, Jt: uint8(len(usual) + 2)}, // to refuse
		{Code: equal, K: unix.S_IFCHR, Jf: uint8(len(usual) + 2)}, // to allow
		{Code: load, K: offsetArg(mode + 1)},
	}
	for i, dev := range usual {
		rule = append(rule, unix.SockFilter{Code: equal, K: dev, Jt: uint8(len(usual) - i)}) // to allow
	}
	return append(rule, refuse, allow)
}
