package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// How the tool becomes root of a user namespace: it starts itself again. The new process
// waits until it has its ids and then executes the tool once more, which makes it root in
// there. It stays in the process group of the old one, so that the terminal treats both as
// one, and learns of signals from the old one alone, so that each comes once.

const (
	waitingName = "imagebuilder-rootless" // its first argument is what it is called inside
	insideName  = "imagebuilder-inside "  // and the id of the process that started it
)

// doorFile is the descriptor by which the process inside hears from that outside: a byte
// once it has its ids, then the number of each signal.
const doorFile = 3

// Signals are those that end the tool in order.
var Signals = []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM}

// AtDoor does the work of a process that is on its way into a user namespace, and makes of
// that which has arrived an ordinary one. The tool calls it before anything else. It returns
// the signals that the process outside passes on; nil: there is none, they come as usual.
var AtDoor = sync.OnceValues(atDoor)

func atDoor() (signals <-chan os.Signal, err error) {
	if os.Args[0] == waitingName {
		return nil, goInside()
	}
	parent, inside := strings.CutPrefix(os.Args[0], insideName)
	if !inside {
		return nil, nil
	}
	os.Args = os.Args[1:]
	unix.CloseOnExec(doorFile)
	// Becoming root has cleared it. Where the parent has died before, the file says so.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return nil, fmt.Errorf("cannot be tied to the process outside the user namespace: %w", err)
	}
	if strconv.Itoa(os.Getppid()) != parent {
		return nil, errors.New("the process outside the user namespace has ended")
	}
	if label, err := os.ReadFile("/proc/self/attr/current"); err == nil && disarmed(string(label)) {
		return nil, apparmorError()
	}
	// Who catches a signal, as against who ignores it, does not have programs ignore it.
	caught := make(chan os.Signal, 1)
	for _, s := range Signals {
		if !signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
	go func() {
		for range caught {
		}
	}()
	told := make(chan os.Signal, 4)
	go hear(os.NewFile(doorFile, "door"), told)
	return told, nil
}

// hear passes on what the process outside says. Its end is the end of this one.
func hear(door *os.File, told chan<- os.Signal) {
	b := make([]byte, 1)
	for {
		if n, err := door.Read(b); n != 1 || err != nil {
			os.Exit(1)
		}
		told <- syscall.Signal(b[0])
	}
}

// goInside waits for the ids and becomes root.
func goInside() error {
	b := make([]byte, 1)
	for {
		n, err := unix.Read(doorFile, b)
		if err == unix.EINTR {
			continue
		}
		if n != 1 || err != nil {
			os.Exit(1) // the process outside says why
		}
		break
	}
	if err := unix.CloseRange(doorFile+1, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return err
	}
	return unix.Exec("/proc/self/exe", append([]string{insideName + strconv.Itoa(os.Getppid())}, os.Args[1:]...), os.Environ())
}

// A door leads into a user namespace in which an ordinary user is root. It lets signals
// through while the process inside runs.
type door struct {
	child *exec.Cmd
	told  *os.File
}

// openDoor starts the tool inside and gives it its ids.
func openDoor(args []string, env []string) (*door, error) {
	if !Installed("newuidmap") || !Installed("newgidmap") {
		return nil, errors.New("newuidmap is not installed, which gives a user further ids: install the package uidmap, or run this as root")
	}
	users, groups, err := subordinate()
	if err != nil {
		return nil, fmt.Errorf("%w; or run this as root", err)
	}
	hear, tell, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer hear.Close()
	cmd := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        append([]string{waitingName}, args...),
		Env:         env,
		Stdin:       os.Stdin,
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		ExtraFiles:  []*os.File{hear},
		SysProcAttr: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL},
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(namespaceError(err), tell.Close())
	}
	d := &door{cmd, tell}
	for _, m := range []struct {
		program string
		args    []string
	}{{"newuidmap", users.args(os.Geteuid())}, {"newgidmap", groups.args(os.Getegid())}} {
		if err := mapIDs(m.program, cmd.Process.Pid, m.args); err != nil {
			d.told.Close() // with which the child ends
			cmd.Wait()
			return nil, err
		}
	}
	return d, nil
}

// letIn has the process inside go on.
func (d *door) letIn() error {
	_, err := d.told.Write([]byte{0})
	return err
}

func mapIDs(program string, pid int, args []string) error {
	var said bytes.Buffer
	err := Command{Args: append([]string{program, fmt.Sprint(pid)}, args...), Stderr: &said}.Run(context.Background())
	if err == nil {
		return nil
	}
	why := strings.TrimSpace(said.String())
	if why == "" {
		why = err.Error()
	}
	const cannot = "cannot give the user namespace its ids: "
	if file, err := exec.LookPath(program); err == nil && !privileged(file) {
		return fmt.Errorf(cannot+"%s is not setuid root; have the administrator run 'chmod u+s %s', or run this as root", file, file)
	}
	return errors.New(cannot + why + "; have the administrator look at /etc/subuid and /etc/subgid, or run this as root")
}

// privileged tells whether a program gets what it needs to write a map of ids, as some
// distributions have it by capabilities, wherever it lies on a file system that gives such.
func privileged(file string) bool {
	info, err := os.Stat(file)
	if err != nil || info.Mode()&os.ModeSetuid != 0 {
		return true // not the cause
	}
	n, err := unix.Getxattr(file, "security.capability", nil)
	return err == nil && n > 0
}

// namespaceError says why the kernel makes no user namespace, and what to do.
func namespaceError(err error) error {
	const cannot = "cannot make a user namespace"
	switch {
	case setting("user/max_user_namespaces") == "0":
		return errors.New(cannot + ": the setting user.max_user_namespaces is 0; have the administrator run 'sysctl user.max_user_namespaces=10000', or run this as root")
	case setting("kernel/unprivileged_userns_clone") == "0":
		return errors.New(cannot + ": the setting kernel.unprivileged_userns_clone is 0; have the administrator run 'sysctl kernel.unprivileged_userns_clone=1', or run this as root")
	case setting(apparmorSetting) == "1" && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)):
		return apparmorError()
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS):
		return fmt.Errorf("%s: there are as many as user.max_user_namespaces allows, or they lie too deep in each other (%w)", cannot, startError(err))
	}
	return fmt.Errorf("%s: %w; where this is a container, its host forbids it; else run this as root", cannot, startError(err))
}

func setting(name string) string {
	text, _ := os.ReadFile("/proc/sys/" + name)
	return strings.TrimSpace(string(text))
}

// apparmorSetting is with what Ubuntu leaves those who are not root a user namespace in which
// they may do nothing, unless a profile says that a program may have one.
const apparmorSetting = "kernel/apparmor_restrict_unprivileged_userns"

// disarmed tells whether a process of that label is one of those.
func disarmed(label string) bool { return strings.HasPrefix(label, "unprivileged_userns") }

// apparmorError says how the administrator gives the tool a profile.
func apparmorError() error {
	exe, err := os.Executable()
	if err != nil {
		exe = "/usr/local/bin/imagebuilder"
	}
	profile := fmt.Sprintf("abi <abi/4.0>, profile imagebuilder %q flags=(unconfined) { userns, }", exe)
	const file = "/etc/apparmor.d/imagebuilder"
	return fmt.Errorf("cannot work in a user namespace: the setting %s is 1; have the administrator run \"echo '%s' >%s && apparmor_parser -r %s\", or run this as root",
		strings.ReplaceAll(apparmorSetting, "/", "."), profile, file, file)
}

// GoThrough starts the tool again as root of a user namespace, with the same arguments and an
// environment, and waits for its end. It returns the exit status as a shell has it. listen is
// given what is to be called with each signal that this process gets.
func GoThrough(env []string, listen func(func(os.Signal))) (status int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // the process inside is tied to the thread that starts it
		defer runtime.UnlockOSThread()
		var d *door
		if d, err = openDoor(os.Args, env); err != nil {
			return
		}
		defer d.told.Close()
		if err = d.letIn(); err == nil {
			listen(d.pass)
			status, err = d.wait()
		}
	}()
	<-done
	return status, err
}

// pass has the process inside hear of a signal.
func (d *door) pass(s os.Signal) { d.told.Write([]byte{byte(s.(syscall.Signal))}) }

func (d *door) wait() (status int, err error) {
	err = d.child.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return statusCode(exit.Sys().(syscall.WaitStatus)), nil
	}
	return 0, err
}

// TryDoor finds out whether GoThrough would get as far as into the user namespace, with all
// ids, and says what is in the way.
func TryDoor() error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		d, err := openDoor(nil, os.Environ())
		if err == nil {
			d.told.Close() // without a word, with which the process inside ends
			d.child.Wait()
		}
		done <- err
	}()
	return <-done
}
