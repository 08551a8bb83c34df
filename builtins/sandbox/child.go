package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/tree"
)

// hostname is what programs inside see. The hosts generator replaces it.
const hostname = "lxd-imagebuilder"

// Main runs the child and does not return, if this process is one.
func Main() {
	if os.Args[0] != childName {
		return
	}
	control, report := os.NewFile(3, "control"), os.NewFile(4, "report")
	// Programs must not hold the pipes open.
	unix.CloseOnExec(3)
	unix.CloseOnExec(4)
	// Nor what whoever called the tool has left open: it leads to the host.
	if err := unix.CloseRange(5, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		json.NewEncoder(report).Encode(newReply(Answer{}, fmt.Errorf("cannot close inherited files: %w", err)))
		os.Exit(0)
	}
	orders := json.NewDecoder(control)
	var spec Spec
	if err := orders.Decode(&spec); err != nil {
		os.Exit(1) // the parent is gone
	}
	go func() {
		io.Copy(io.Discard, control)
		os.Exit(1) // as process 1: the kernel ends all others
	}()
	answer, err := spec.carryOut()
	json.NewEncoder(report).Encode(newReply(answer, err))
	os.Exit(0)
}

func newReply(answer Answer, err error) reply {
	r := reply{Answer: answer}
	if err == nil {
		return r
	}
	r.Error = err.Error()
	errors.As(err, &r.Errno)
	var exit *host.ExitError
	if errors.As(err, &exit) {
		r.Failed = &failure{Args: exit.Args, Status: exit.Err.Error()}
	}
	if errors.Is(err, ErrOverlay) {
		r.Error = ErrOverlay.Error()
	}
	return r
}

func (spec *Spec) carryOut() (answer Answer, err error) {
	syscall.Umask(0o022)
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return answer, fmt.Errorf("cannot set the host name: %w", err)
	}
	// Nothing mounted here may reach the host.
	if err := atNamespaceRoot(func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") }); err != nil {
		return answer, fmt.Errorf("cannot make mounts private: %w", err)
	}
	if spec.Chroot != nil {
		return answer, spec.chroot()
	}
	point := spec.Rootfs.Point
	if spec.Host != nil {
		return answer, spec.beside()
	}
	if err := spec.Rootfs.mount(point); err != nil {
		return answer, err
	}
	defer func() { err = errors.Join(err, unmount(point)) }()
	// A device node of the image leads to a device of the host.
	if err := restrict(point, unix.MOUNT_ATTR_NODEV); err != nil {
		return answer, err
	}
	root, err := tree.Open(point)
	if err != nil {
		return answer, err
	}
	defer root.Close()
	switch {
	case spec.Look != nil:
		return spec.Look.answer(root)
	case spec.Copy != nil:
		return answer, spec.Copy.do(root)
	}
	for _, edit := range spec.Edits {
		if err := root.Apply(edit); err != nil {
			return answer, err
		}
	}
	return answer, nil
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

func (l *Look) answer(root *tree.Root) (Answer, error) {
	switch l.Op {
	case "glob":
		names, err := root.Glob(l.Path)
		return Answer{Found: len(names) > 0, Names: names}, err
	case "devices":
		names, err := root.Devices(l.Path)
		return Answer{Found: len(names) > 0, Names: names}, err
	}
	if !root.Exists(l.Path) {
		return Answer{}, nil
	}
	switch l.Op {
	case "exists":
		return Answer{Found: true}, nil
	case "read":
		data, err := root.ReadFile(l.Path)
		return Answer{Found: true, Data: data}, err
	case "readlink":
		text, err := root.Readlink(l.Path)
		if errors.Is(err, unix.EINVAL) { // it is no link
			return Answer{}, nil
		}
		return Answer{Found: true, Data: []byte(text)}, err
	}
	return Answer{}, fmt.Errorf("internal error: unknown question %q", l.Op)
}

func (c *Copy) do(root *tree.Root) error {
	dst, err := tree.Open(c.To)
	if err != nil {
		return err
	}
	defer dst.Close()
	copier := tree.Copier{Merge: c.Merge}
	return copier.Copy(context.Background(), dst, root)
}

// mount puts the rootfs together at point.
func (r *Rootfs) mount(point string) error {
	switch {
	case r.Dir != "":
		return bind(r.Dir, point, r.ReadOnly)
	case len(r.Lower) == 0: // nothing below: the first layer is an ordinary directory
		return bind(r.Upper, point, false)
	case len(r.Lower) == 1 && r.Upper == "": // overlayfs wants two
		return bind(r.Lower[0], point, true)
	}
	return r.overlay(point)
}

// overlay mounts the layers. The kernel takes at most a page of mount options, so
// layers are named by the numbers of open descriptors, from within /proc/self/fd.
func (r *Rootfs) overlay(point string) error {
	names := ""
	for i := len(r.Lower) - 1; i >= 0; i-- {
		fd, err := openPath(r.Lower[i])
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if names != "" {
			names += ":"
		}
		names += fmt.Sprint(fd)
	}
	options := "lowerdir=" + names
	if r.Upper != "" {
		upper, err := openPath(r.Upper)
		if err != nil {
			return err
		}
		defer unix.Close(upper)
		work, err := openPath(r.Work)
		if err != nil {
			return err
		}
		defer unix.Close(work)
		// volatile: a build step that is cut short is thrown away, the store syncs once.
		// redirect_dir: directories of lower layers can be renamed, as rpm does. The
		// other two are switched off since layers outlive the mount.
		options += fmt.Sprintf(",upperdir=%d,workdir=%d,volatile,redirect_dir=on,index=off,metacopy=off", upper, work)
	}
	return mountFrom("/proc/self/fd", point, options)
}

func mountFrom(dir, point, options string) error {
	if len(options) >= os.Getpagesize() {
		return fmt.Errorf("internal error: overlay of %d bytes of options", len(options))
	}
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	err := unix.Mount("overlay", point, "overlay", 0, options)
	if cerr := unix.Chdir("/"); err == nil {
		err = cerr
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("cannot mount the layers: %w", err)
	}
	return fmt.Errorf("%w: %v", ErrOverlay, err)
}

func openPath(name string) (int, error) {
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

func bind(source, point string, readOnly bool) error {
	if err := unix.Mount(source, point, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cannot bind %s: %w", filepath.Base(source), err)
	}
	if !readOnly {
		return nil
	}
	return restrict(point, unix.MOUNT_ATTR_RDONLY)
}

// restrict gives a mount an attribute such as read-only.
func restrict(point string, attr uint64) error {
	return unix.MountSetattr(unix.AT_FDCWD, point, 0, &unix.MountAttr{Attr_set: attr})
}

// unmount takes a mount and all below it away at once, not when the child ends, as
// the parent goes on to use the directories.
func unmount(point string) error {
	if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("cannot unmount the rootfs: %w", err)
	}
	return nil
}
