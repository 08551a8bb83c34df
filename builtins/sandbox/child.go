package sandbox

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
)

// The child's side of a sandbox up to the point where programs or a task begin.

// hostname is what programs inside see. The hosts generator replaces it.
const hostname = "lxd-imagebuilder"

// firstFile is the descriptor of the first file that the child inherits.
const firstFile = 5

// The first thread of the child is kept for Main: /proc/self is about that one, so it must not
// become one of those that go to other namespaces.
func init() {
	if os.Args[0] == childName {
		runtime.LockOSThread()
	}
}

// Main does the work of the child if this process is one: with isChild, the process is to
// exit with the code, at once.
func Main(tasks ...Registered) (code int, isChild bool) {
	if os.Args[0] != childName {
		return 0, false
	}
	control, report := os.NewFile(3, "control"), os.NewFile(4, "report")
	// Programs must not hold the pipes open, nor what whoever called the tool has left
	// open: it leads to the host.
	err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err != nil {
		err = fmt.Errorf("cannot close inherited files: %w", err)
	}
	var o orders
	if gob.NewDecoder(control).Decode(&o) != nil {
		return 1, true // the parent is gone
	}
	codes := make(chan int, 2)
	go func() {
		io.Copy(io.Discard, control) // until the parent ends
		codes <- 1                   // of process 1: the kernel ends all others
	}()
	go func() {
		var result []byte
		if err == nil {
			result, err = o.carryOut(tasks)
		}
		gob.NewEncoder(report).Encode(newReply(result, err))
		codes <- 0
	}()
	return <-codes, true
}

func newReply(result []byte, err error) reply {
	r := reply{Result: result}
	if err == nil {
		return r
	}
	r.Error, r.Overlay, r.TooMuch = err.Error(), errors.Is(err, ErrOverlay), errors.Is(err, ErrTooMuch)
	r.NotOurs = errors.Is(err, errNotOurs)
	errors.As(err, &r.Errno)
	var exit *host.ExitError
	if errors.As(err, &exit) {
		r.Failed = &failure{Args: exit.Args, Status: exit.Err.Error(), Code: exit.Code}
	}
	return r
}

func (o *orders) carryOut(tasks []Registered) ([]byte, error) {
	syscall.Umask(0o022)
	if o.Mount != nil {
		return nil, o.Mount.carryOut()
	}
	if o.Programs == nil {
		return o.do(tasks)
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return nil, fmt.Errorf("cannot set the host name: %w", err)
	}
	var in input
	if o.Files > 0 {
		in = input{os.NewFile(firstFile, "input"), o.Terminal}
		defer in.Close()
	}
	if o.Proxy {
		parent := os.NewFile(uintptr(firstFile+o.Files), "parent")
		defer parent.Close() // when this process ends, so that the parent knows
		if err := listenForParent(parent); err != nil {
			return nil, err
		}
	}
	return nil, o.Spec.run(*o.Programs, in)
}

// An input is what programs read; the zero value has nothing to be read.
type input struct {
	*os.File
	terminal bool // of theirs, on which they write as well
}

// do does a task.
func (o *orders) do(tasks []Registered) (result []byte, err error) {
	in := new(Inside)
	defer func() { err = errors.Join(err, in.close()) }()
	for fd := firstFile; fd < firstFile+o.Files; fd++ {
		in.Files = append(in.Files, os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd)))
	}
	if err := in.mount(o.Stacks); err != nil {
		return nil, err
	}
	for _, t := range tasks {
		if t.Name() == o.Task {
			return t.carryOut(context.Background(), in, o.Args)
		}
	}
	return nil, fmt.Errorf("internal error: unknown task %q", o.Task)
}

// mount mounts the root file systems of a task below a mount of its own.
func (in *Inside) mount(stacks []Stack) error {
	if err := privateMounts(); err != nil {
		return err
	}
	point := stacks[0].Point
	if err := unix.Mount("tmpfs", point, "tmpfs", 0, "mode=0700"); err != nil {
		return fmt.Errorf("cannot mount a tmpfs: %w", err)
	}
	for i := range stacks {
		name := filepath.Join(point, fmt.Sprint(i))
		if err := os.Mkdir(name, 0o700); err != nil {
			return err
		}
		if err := stacks[i].mount(name); err != nil {
			return err
		}
		// A device node of an image leads to a device of the host.
		if err := restrict(name, unix.MOUNT_ATTR_NODEV); err != nil {
			return err
		}
		root, err := dirfd.Open(name, dirfd.InRoot)
		if err != nil {
			return err
		}
		in.Roots = append(in.Roots, root)
	}
	return nil
}

// close lets go of everything at once, not when the child ends, as the parent goes on to
// use the directories.
func (in *Inside) close() error {
	var errs []error
	for _, f := range in.Files {
		errs = append(errs, f.Close())
	}
	for _, root := range in.Roots {
		name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", root.File().Fd()))
		if err == nil {
			err = unmount(name)
		}
		errs = append(errs, root.Close(), err)
	}
	return errors.Join(errs...)
}

// privateMounts sees to it that nothing mounted here reaches the host.
func privateMounts() error {
	if err := atNamespaceRoot(func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }); err != nil {
		return fmt.Errorf("cannot make mounts private: %w", err)
	}
	return nil
}

// atNamespaceRoot calls do where "/" is the root of the mount namespace. The tool may
// itself run in a chroot, whose root need not be a mount, so that nothing could be
// said of all mounts at once.
func atNamespaceRoot(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its own root
		done <- func() error {
			self, err := unix.Open("/proc/self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(self)
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return err
			}
			if err := unix.Setns(self, unix.CLONE_NEWNS); err != nil {
				return err
			}
			return do()
		}()
	}()
	return <-done
}
