package sandbox

import (
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
)

// Who mounts in the place of a program. It is a process of its own: in one that shares files and
// memory with the first of the sandbox, a name that a program gives, such as /proc/self/exe,
// would lead to what that has.

// A mountCall is a call of mount(2) or umount2(2).
type mountCall struct {
	Unmount                    bool
	Source, Target, Type, Data string
	Flags                      uintptr
	InTarget                   bool // the target is a directory that is inherited
}

// What the mounter inherits of the caller.
const (
	callerMounts = firstFile + iota // the mount namespace
	callerRoot
	callerDir    // the working directory
	callerTarget // of a call with InTarget
)

// errNotOurs says that the kernel can carry out a call itself.
var errNotOurs = errors.New("the call is harmless")

// carryOut does what the call says, as its caller. An error is that of the call.
func (c *mountCall) carryOut() error {
	// Programs must not look into this process, whose program is a file of the host.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	kernel, err := c.kernel()
	if err != nil {
		return err
	}
	defer closeAll(kernel)
	// All of this process goes to the root of the caller, for whom /proc/self is what it is to this
	// process while it mounts.
	if err := enterRoot(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends as the caller
		done <- func() error {
			if err := becomeCaller(); err != nil {
				return err
			}
			if c.InTarget {
				if err := unix.Fchdir(callerTarget); err != nil {
					return err
				}
			}
			switch {
			case c.Unmount:
				return c.unmount()
			case c.Flags&unix.MS_REMOUNT != 0:
				return c.restrict()
			case c.Flags&unix.MS_BIND != 0:
				return c.bind()
			case kernel != nil:
				return c.attach(kernel[len(kernel)-1])
			}
			return unix.Mount(c.Source, c.Target, c.Type, c.Flags, c.Data)
		}()
	}()
	return <-done
}

// kernel makes the file system of the kernel that is to be mounted, the last of the list, if it is
// one.
func (c *mountCall) kernel() ([]int, error) {
	const lasting = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	switch {
	case c.Unmount || c.Flags&(unix.MS_BIND|unix.MS_REMOUNT) != 0:
		return nil, nil
	case c.Type == procFS.fstype:
		return sealed(procFS.with(c.Flags&lasting, c.Data))
	case c.Type == sysFS.fstype:
		return sealed(procFS, sysFS.with(c.Flags&lasting, c.Data))
	}
	return nil, nil
}

// enterRoot goes to the root of the caller, and to its working directory.
func enterRoot() error {
	if err := unix.Fchdir(callerRoot); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Fchdir(callerDir)
}

// becomeCaller takes this thread to where the caller is, with no more capabilities than
// programs have.
func becomeCaller() error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Setns(callerMounts, unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := enterRoot(); err != nil {
		return err
	}
	var data [2]unix.CapUserData
	for c := range kept {
		data[c/32].Permitted |= 1 << (c % 32)
		data[c/32].Effective |= 1 << (c % 32)
	}
	return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0])
}

// lookUp opens a name that the caller gave. None leads to what this process has.
func lookUp(name string, flags uint64) (int, error) {
	return unix.Openat2(unix.AT_FDCWD, name, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC | flags, Resolve: unix.RESOLVE_NO_MAGICLINKS,
	})
}

// unmount takes a /proc away with its parts. One of these goes when the whole does: who takes
// away all mounts of a tree, one after the other, begins with them.
func (c *mountCall) unmount() error {
	flags := uint64(0)
	if c.Flags&unix.UMOUNT_NOFOLLOW != 0 {
		flags = unix.O_NOFOLLOW
	}
	fd, err := lookUp(c.Target, flags)
	if err != nil {
		return errNotOurs
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return errNotOurs
	}
	err = unix.Unmount(c.Target, int(c.Flags)|unix.MNT_DETACH)
	const wholeIno = 1 // of the directory that a /proc is
	var st unix.Statx_t
	if errors.Is(err, unix.EINVAL) && unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_INO, &st) == nil &&
		st.Ino != wholeIno && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return nil
	}
	return err
}

// bind shows at another place what has locked mounts, which the kernel does not show without these.
func (c *mountCall) bind() error {
	source, err := lookUp(c.Source, 0)
	if err != nil {
		return errNotOurs
	}
	defer unix.Close(source)
	const flags = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_EMPTY_PATH
	if fd, err := unix.OpenTree(source, "", flags); !errors.Is(err, unix.EINVAL) {
		unix.Close(fd)
		return errNotOurs
	}
	fd, err := unix.OpenTree(source, "", flags|unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return c.attach(fd)
}

// restrict makes a mount read-only. None gets devices that way.
func (c *mountCall) restrict() error {
	return unix.Mount("", c.Target, "", c.Flags|unix.MS_NODEV, "")
}

// attach puts a mount on the target.
func (c *mountCall) attach(fd int) error {
	target, err := lookUp(c.Target, 0)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	return unix.MoveMount(fd, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// An outside is a thread that sees what is mounted on the host, and nothing that is mounted here:
// where this process goes, its program and what that is linked with may not be there.
type outside chan func()

// newOutside starts the thread, which lasts as long as the process.
func newOutside() (outside, error) {
	calls, err := make(outside), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err <- leaveMounts()
		for call := range calls {
			call()
		}
	}()
	return calls, <-err
}

// leaveMounts takes this thread to a copy of its mount namespace, from which goes what is unmounted
// in that of the host.
func leaveMounts() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return err
	}
	ns, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	if err := unix.Setns(ns, unix.CLONE_NEWNS); err != nil { // out of a chroot
		return err
	}
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "")
}

// do calls a function there.
func (o outside) do(call func() error) error {
	done := make(chan error, 1)
	o <- func() { done <- call() }
	return <-done
}

// delegate has the call carried out by a process that starts in a PID namespace, and inherits what
// is the caller's. It changes where this thread starts processes.
func (c *mountCall) delegate(pidNamespace *os.File, caller []*os.File) error {
	if err := unix.Setns(int(pidNamespace.Fd()), unix.CLONE_NEWPID); err != nil {
		return err
	}
	return c.start(caller)
}

func (c *mountCall) start(caller []*os.File) error {
	control, controlEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer control.Close()
	defer controlEnd.Close()
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return err
	}
	defer report.Close()
	process, err := host.Start("/proc/self/exe", []string{childName}, &os.ProcAttr{
		Env:   childEnv(),
		Files: append([]*os.File{control, os.Stdout, os.Stderr, control, reportEnd}, caller...),
	})
	reportEnd.Close()
	if err != nil {
		return err
	}
	defer process.Release()
	if err := gob.NewEncoder(controlEnd).Encode(orders{Mount: c}); err != nil {
		return err
	}
	var r reply
	if err := gob.NewDecoder(report).Decode(&r); err != nil {
		return fmt.Errorf("it ended without an answer: %w", err)
	}
	switch {
	case r.NotOurs:
		return errNotOurs
	case r.Errno != 0:
		return r.Errno
	case r.Error != "":
		return errors.New(r.Error)
	}
	return nil
}
