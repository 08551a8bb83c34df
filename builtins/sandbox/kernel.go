package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
)

// The file systems of the kernel that programs see. Root changes the host through them, whatever
// namespaces it is in. So what leads there is read-only, and stays so for good: of mounts that
// a mount namespace has taken over from another user namespace the kernel lets nobody take a
// part away or change it, and that goes for copies of them in any other namespace
// (mount_namespaces(7), "Restrictions on mount namespaces").

// A kernelFS is a /proc or a /sys.
type kernelFS struct {
	at     string // where it usually is
	fstype string
	flags  uintptr
	data   string
}

var (
	procFS = kernelFS{"/proc", "proc", unix.MS_NODEV, ""}
	sysFS  = kernelFS{"/sys", "sysfs", unix.MS_NODEV | unix.MS_RDONLY, ""}
)

// stage is where file systems of the kernel are made, in a mount namespace of its own: a
// directory that is there on every host.
const stage = "/sys"

// hostSettings are where programs could change the host, whose kernel they run on, as
// far as it has them: its settings, its interrupts, what its devices are set to.
var hostSettings = []string{
	"acpi", "asound", "bus", "driver", "dynamic_debug", "fs", "irq", "latency_stats", "mtrr", "scsi", "sys", "sysrq-trigger",
}

// sealed makes file systems of the kernel, the first of them a /proc of this process's PID namespace,
// and returns mounts of them, in this order, that are not in the tree.
func sealed(list ...kernelFS) (mounts []int, err error) {
	err = atNamespaceRoot(func() error {
		mounts, err = seal(list)
		return err
	})
	return mounts, err
}

// mountKernel makes /proc and /sys in a directory.
func mountKernel(dir string) error {
	list := []kernelFS{procFS, sysFS}
	mounts, err := sealed(list...)
	if err != nil {
		return err
	}
	defer closeAll(mounts)
	for i, k := range list {
		at := filepath.Join(dir, k.at)
		if err := os.Mkdir(at, 0o755); err != nil {
			return err
		}
		if err := attachTo(mounts[i], at); err != nil {
			return fmt.Errorf("cannot mount %s: %w", k.at, err)
		}
	}
	return nil
}

// show mounts the one that is in a directory in root as well.
func (k kernelFS) show(dir string, root *dirfd.Dir, name string) error {
	fd, err := clone(filepath.Join(dir, k.at), true, unix.AT_RECURSIVE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return place(fd, root, name)
}

// seal is sealed on a thread that it leaves in another mount namespace. The first of the list
// is /proc.
func seal(list []kernelFS) (mounts []int, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, fmt.Errorf("cannot make a mount namespace: %w", err)
	}
	ofHost := -1
	if host.Confined() {
		if ofHost, err = detachHost("/sys", false); err != nil {
			return nil, err
		}
		defer unix.Close(ofHost)
	}
	if err := unix.Mount("tmpfs", stage, "tmpfs", 0, "mode=0700"); err != nil {
		return nil, fmt.Errorf("cannot mount a tmpfs: %w", err)
	}
	for _, k := range list {
		if err := k.mount(ofHost); err != nil {
			return nil, err
		}
	}
	// Who holds the namespaces can be looked into by programs, to whom this is to lead nowhere else.
	if err := unix.Chdir(stage); err != nil {
		return nil, err
	}
	if err := changeRoot(); err != nil {
		return nil, err
	}
	if err := lockMounts(procFS.at); err != nil {
		return nil, fmt.Errorf("cannot lock /proc: %w", err)
	}
	for _, k := range list {
		fd, err := clone(k.at, true, unix.AT_RECURSIVE)
		if err != nil {
			closeAll(mounts)
			return nil, err
		}
		mounts = append(mounts, fd)
	}
	return mounts, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// with is the file system with more options.
func (k kernelFS) with(flags uintptr, data string) kernelFS {
	k.flags |= flags
	k.data = data
	return k
}

func (k kernelFS) staged() string { return filepath.Join(stage, k.at) }

// mount mounts it on the stage. Who is confined gets a sysfs only in a network namespace of their
// own, and else that of the host.
func (k kernelFS) mount(ofHost int) error {
	at := k.staged()
	if err := os.Mkdir(at, 0o755); err != nil {
		return err
	}
	if k.fstype == procFS.fstype {
		return k.mountProc(at)
	}
	err := unix.Mount(k.fstype, at, k.fstype, k.flags, k.data)
	if errors.Is(err, unix.EPERM) && ofHost >= 0 {
		err = attachTo(ofHost, at)
	}
	if err != nil {
		return fmt.Errorf("cannot mount /sys: %w", err)
	}
	return nil
}

func (k kernelFS) mountProc(at string) error {
	if err := unix.Mount(k.fstype, at, k.fstype, k.flags&^unix.MS_RDONLY, k.data); err != nil {
		return procError(err)
	}
	if err := freezeSettings(at); err != nil || k.flags&unix.MS_RDONLY == 0 {
		return err
	}
	return restrict(at, unix.MOUNT_ATTR_RDONLY)
}

// procError says why there can be no /proc, and what to do: in a user namespace the kernel lets
// nobody see one whole where they have seen it with parts hidden.
func procError(err error) error {
	if host.Confined() && errors.Is(err, unix.EPERM) {
		return errors.New("cannot mount /proc: a container hides parts of its own; allow nesting in LXD by security.nesting=true, in Podman by --security-opt unmask=ALL, in Docker by --security-opt systempaths=unconfined")
	}
	return fmt.Errorf("cannot mount /proc: %w", err)
}

// freezeSettings makes what is the host's of a /proc read-only.
func freezeSettings(proc string) error {
	if err := limitProcesses(proc); err != nil {
		return err
	}
	for _, name := range hostSettings {
		if err := freeze(filepath.Join(proc, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// freeze mounts a file or directory on itself, read-only.
func freeze(name string) error {
	fd, err := detach(name, false)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := attachTo(fd, name); err != nil {
		return fmt.Errorf("cannot make %s read-only: %w", name, err)
	}
	return nil
}

// lockMounts leaves this thread in a copy of its mount namespace in which all mounts are locked.
// Where there can be no user namespace, or the mounter does not see to what a lock forbids,
// none is. proc is where there is a /proc of this process's PID namespace.
func lockMounts(proc string) error {
	if len(abis) == 0 {
		return nil
	}
	program, err := memoryFile(pause())
	if err != nil {
		return err
	}
	defer program.Close()
	holder, err := host.Start(filepath.Join(proc, "self/fd/3"), []string{"pause"}, &os.ProcAttr{
		Files: []*os.File{nil, nil, nil, program}, Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS},
	})
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS), errors.Is(err, unix.EINVAL):
		return nil // no user namespaces
	case err != nil:
		return err
	}
	// Not to be seen by programs, who may look into it: the namespace can hold the host.
	defer func() {
		holder.Kill()
		holder.Wait()
	}()
	ns, err := unix.Open(fmt.Sprintf("%s/%d/ns/mnt", proc, holder.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	return unix.Setns(ns, unix.CLONE_NEWNS)
}

// isProc tells whether a path leads to a /proc, or to a part of one.
func isProc(name string) bool {
	var st unix.Statfs_t
	return unix.Statfs(name, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
}

// withoutParts leaves out the mounts that belong to a sealed /proc, which come and go with it.
func withoutParts(list []mount) (whole []mount) {
	procs := make(map[string]bool)
	for _, m := range list {
		if m.fstype == "proc" && m.root == "/" {
			procs[m.at] = true
		}
	}
	for _, m := range list {
		at, ok := strings.CutSuffix(m.at, m.root)
		if m.fstype != "proc" || m.root == "/" || !ok || !procs[at] {
			whole = append(whole, m)
		}
	}
	return whole
}
