package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What programs may mount. The filter of system calls cannot read names, so it asks this process,
// which has the call carried out with the names as they were read: the caller could change
// them until the kernel reads them.

// mountable are the file systems that programs may mount: those that are empty, made of their own
// files, or of a server. Others are the host's wherever they are mounted, such as its control
// groups and what its hypervisor shares with it, or lie on devices, of which there are none.
var mountable = []string{
	"cifs", "devpts", "mqueue", "nfs", "nfs4", "overlay", "ramfs", "smb3", "tmpfs", procFS.fstype, sysFS.fstype,
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

// Requests of seccomp_unotify(2).
const (
	ioctlNotifSend    = 0xc0182101 // SECCOMP_IOCTL_NOTIF_SEND
	ioctlNotifIDValid = 0x40082102 // SECCOMP_IOCTL_NOTIF_ID_VALID
)

// A judge answers the questions of a filter.
type judge struct {
	listener int
	outside  outside
	proc     *os.File // of this process's PID namespace
	user     uint64   // this process's user namespace
}

func newJudge(listener int, out outside) (*judge, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	var user unix.Stat_t
	if err := unix.Stat("/proc/self/ns/user", &user); err != nil {
		return nil, errors.Join(err, proc.Close())
	}
	return &judge{listener, out, proc, user.Ino}, nil
}

func (j *judge) serve() {
	for {
		var q question
		if errno := j.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&q)); errno != 0 {
			if errno == unix.EINTR || errno == unix.ENOENT { // who asked is gone
				continue
			}
			return
		}
		v := verdict{id: q.id}
		if err := j.answer(q); errors.Is(err, errNotOurs) {
			v.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE
		} else if err != nil {
			v.errno = -int32(errnoOf(err))
		}
		j.ioctl(ioctlNotifSend, unsafe.Pointer(&v)) // an error: who asked is gone
	}
}

func (j *judge) ioctl(request uintptr, arg unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(j.listener), request, uintptr(arg))
	return errno
}

// errnoOf is what a caller is told. What has no number is said in the output of the step.
func errnoOf(err error) unix.Errno {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	fmt.Fprintf(os.Stderr, "cannot mount: %v\n", err)
	return unix.EPERM
}

// answer does what a program has called for; errNotOurs: the kernel is to do it.
func (j *judge) answer(q question) error {
	call, err := q.call()
	if err != nil {
		return err
	}
	anew := !call.Unmount && call.Flags&(unix.MS_BIND|unix.MS_REMOUNT) == 0
	if anew && !slices.Contains(mountable, call.Type) {
		return unix.EPERM
	}
	caller, err := j.callerOf(q)
	if err != nil {
		return err
	}
	defer caller.close()
	switch {
	case caller.user == j.user && !caller.admin:
		return unix.EPERM
	// In a user namespace of their own the kernel sees to it that nobody gets more than they
	// had, for which it refuses any new /proc.
	case caller.user != j.user && !(anew && call.Type == procFS.fstype && caller.admin && caller.ownsMounts()):
		return errNotOurs
	}
	// What it has open only the caller can name.
	if own := ownFile.FindStringSubmatch(call.Target); own != nil && anew {
		f, err := j.open(q.pid, own[1], unix.O_PATH)
		if err != nil {
			return err
		}
		caller.files = append(caller.files, f)
		call.Target, call.InTarget = ".", true
	}
	return j.outside.do(func() error { return call.delegate(caller.pids, caller.files) })
}

var ownFile = regexp.MustCompile(`^/proc/(?:self|thread-self)/(fd/[0-9]+)$`)

// call reads the call.
func (q question) call() (*mountCall, error) {
	c := new(mountCall)
	texts := []struct {
		to *string
		at uint64
	}{{&c.Source, q.args[0]}, {&c.Target, q.args[1]}, {&c.Type, q.args[2]}, {&c.Data, q.args[4]}}
	c.Flags = uintptr(q.args[3])
	if q.unmounts() { // umount2(target, flags), umount(target)
		c.Unmount = true
		texts[1].at, texts = q.args[0], texts[1:2]
		c.Flags = uintptr(q.args[1])
		if q.nr == oldUmount && q.arch == unix.AUDIT_ARCH_I386 {
			c.Flags = 0
		}
	}
	for _, t := range texts {
		text, err := q.text(t.at)
		if err != nil {
			return nil, err
		}
		*t.to = text
	}
	return c, nil
}

// oldUmount is umount of i386, which has no flags.
const oldUmount = 22

func (q question) unmounts() bool {
	return slices.ContainsFunc(abis, func(a abi) bool { return a.arch == q.arch && slices.Contains(a.umounts, q.nr) })
}

// text reads a text of the caller, or its beginning: the kernel takes no more than a page either.
func (q question) text(at uint64) (string, error) {
	if at == 0 {
		return "", nil
	}
	page := uint64(os.Getpagesize())
	text := make([]byte, page)
	// In two parts, since there may be nothing beyond the page.
	first := min(page, page-at%page)
	remote := []unix.RemoteIovec{{Base: uintptr(at), Len: int(first)}, {Base: uintptr(at + first), Len: int(page - first)}}
	local := []unix.Iovec{{Base: &text[0]}}
	local[0].SetLen(len(text))
	n, err := unix.ProcessVMReadv(int(q.pid), local, remote, 0)
	if err != nil {
		return "", err
	}
	text, _, _ = bytes.Cut(text[:n], []byte{0})
	return string(text), nil
}

// A caller is who called, as it was then.
type caller struct {
	files []*os.File // its mount namespace, root and working directory
	pids  *os.File   // its PID namespace
	user  uint64     // its user namespace
	admin bool       // it has CAP_SYS_ADMIN there
}

func (c *caller) close() {
	for _, f := range append(c.files, c.pids) {
		if f != nil {
			f.Close()
		}
	}
}

// callerOf looks at who has asked.
func (j *judge) callerOf(q question) (c *caller, err error) {
	c = new(caller)
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	for _, name := range []string{"ns/mnt", "root", "cwd"} {
		flags := unix.O_RDONLY
		if name != "ns/mnt" {
			flags = unix.O_PATH
		}
		f, err := j.open(q.pid, name, flags)
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, f)
	}
	if c.pids, err = j.open(q.pid, "ns/pid", unix.O_RDONLY); err != nil {
		return nil, err
	}
	user, err := j.open(q.pid, "ns/user", unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer user.Close()
	if c.user, err = inodeOf(user); err != nil {
		return nil, err
	}
	status, err := j.open(q.pid, "status", unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer status.Close()
	if c.admin, err = isAdmin(status); err != nil {
		return nil, err
	}
	// Else it may have been somebody else who has got the number by now.
	if errno := j.ioctl(ioctlNotifIDValid, unsafe.Pointer(&q.id)); errno != 0 {
		return nil, errno
	}
	return c, nil
}

func (j *judge) open(pid uint32, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(j.proc.Fd()), fmt.Sprintf("%d/%s", pid, name), flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func inodeOf(f *os.File) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return st.Ino, err
}

// isAdmin reads whether a thread has CAP_SYS_ADMIN (proc(5), /proc/PID/status).
func isAdmin(status *os.File) (bool, error) {
	text := make([]byte, 16<<10)
	n, err := status.Read(text)
	if err != nil {
		return false, err
	}
	_, rest, _ := strings.Cut(string(text[:n]), "\nCapEff:\t")
	hex, _, _ := strings.Cut(rest, "\n")
	effective, err := strconv.ParseUint(hex, 16, 64)
	return effective&(1<<unix.CAP_SYS_ADMIN) != 0, err
}

// ownsMounts tells whether the mount namespace belongs to the caller's user namespace.
func (c *caller) ownsMounts() bool {
	fd, err := unix.IoctlRetInt(int(c.files[0].Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return false
	}
	owner := os.NewFile(uintptr(fd), "user namespace")
	defer owner.Close()
	user, err := inodeOf(owner)
	return err == nil && user == c.user
}
