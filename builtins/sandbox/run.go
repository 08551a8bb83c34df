package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
)

// How the surroundings of programs are made, inside a root file system or on the host, and
// taken away again.

// run makes this process's surroundings those of the programs and runs them.
func (spec *Spec) run(programs Programs, in input) error {
	out, err := newOutside()
	if err != nil {
		return fmt.Errorf("cannot keep the mounts of the host: %w", err)
	}
	if err := privateMounts(); err != nil {
		return err
	}
	// Mounts are made, and taken off the tree again, before anything becomes read-only
	// and before a new /tmp hides what may lie below the old one.
	mounts, err := spec.detached()
	if err == nil {
		var devices detachedMounts
		devices, err = spec.devices()
		mounts = append(mounts, devices...)
	}
	defer mounts.close()
	if err != nil {
		return err
	}
	if spec.Root == nil {
		return spec.onHost(programs, in, mounts, out)
	}
	return spec.inside(programs, in, mounts, out)
}

// inside runs the programs inside a root file system. This process itself goes to an
// empty file system that holds little but that, so that not even a program that breaks
// out of its root finds the host.
func (spec *Spec) inside(programs Programs, in input, mounts detachedMounts, out outside) (err error) {
	point := spec.Root.Point
	if err := unix.Mount("tmpfs", point, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("cannot mount a tmpfs: %w", err)
	}
	dir := filepath.Join(point, "rootfs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	// Much works through /proc/self/fd.
	if err := mountKernel(point); err != nil {
		return err
	}
	if err := spec.Root.mountFrom(cmp.Or(spec.rootDevice(), "overlay"), dir); err != nil {
		return err
	}
	// A device node of the image leads to a device of the host; those of /dev are made anew.
	if err := restrict(dir, unix.MOUNT_ATTR_NODEV); err != nil {
		return err
	}
	root, err := dirfd.Open(dir, dirfd.InRoot)
	if err != nil {
		return err
	}
	visits, s, err := spec.settle(root, mounts)
	var shown volumes
	if err == nil {
		shown, err = spec.mountDisk(root)
	}
	defer shown.close()
	if err == nil {
		err = pivot(point)
	}
	if err == nil {
		err = s.resume(root)
	}
	if err != nil {
		return errors.Join(err, s.close(), root.Close())
	}
	err = runner{root: root, chroot: chrootDir, in: in, spec: spec, outside: out}.runAll(programs)
	if err == nil {
		err = s.record(root)
	}
	return errors.Join(err, s.close(), tidy(root, visits, shown, s != nil))
}

// chrootDir is where this process has the root file system that programs run in.
const chrootDir = "/rootfs"

// settle puts everything into a root file system that programs are to find there.
func (spec *Spec) settle(root *dirfd.Dir, mounts detachedMounts) (visits []*visit, s *session, err error) {
	if err := root.MkdirAll(stashes, 0o755); err != nil {
		return nil, nil, err
	}
	stash, err := root.Sub(stashes)
	if err != nil {
		return nil, nil, err
	}
	defer stash.Close()
	if spec.Session {
		if s, err = openSession(stash); err != nil {
			return nil, nil, err
		}
	}
	if err := furnish(root, s, spec.Root.Point); err != nil {
		return nil, s, err
	}
	if err := mounts.attach(root); err != nil {
		return nil, s, err
	}
	visits, err = invite(root, append(spec.Guests, spec.secretFiles()...), stash, s)
	return visits, s, err
}

// tidy takes the guests away, and all mounts, which may hide some of the guests, or have
// been the places of others. What is on other partitions goes into the root file system.
func tidy(root *dirfd.Dir, visits []*visit, shown volumes, inSession bool) error {
	var errs []error
	for _, v := range visits {
		if v.stash == "" {
			errs = append(errs, v.leave(root))
		}
	}
	errs = append(errs, root.Close())
	bare, err := detach(chrootDir, true)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	defer unix.Close(bare)
	if err := unmount(chrootDir); err != nil {
		return errors.Join(append(errs, err)...)
	}
	if root, err = dirfd.Open(fmt.Sprintf("/proc/self/fd/%d", bare), dirfd.InRoot); err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, v := range visits {
		errs = append(errs, v.leave(root))
	}
	errs = append(errs, shown.settle(root))
	if inSession {
		errs = append(errs, own(root, visits))
	}
	return errors.Join(append(errs, root.Close())...)
}

// pivot makes point the root of this process and of its namespace, and lets go of the
// host, also where the tool runs in a chroot, whose root need not be a mount.
func pivot(point string) error {
	fd, err := unix.Open(point, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = atNamespaceRoot(func() error {
		if err := unix.Fchdir(fd); err != nil {
			return err
		}
		return changeRoot()
	})
	// The threads that were in a chroot have stayed there.
	if err == nil {
		err = unix.Fchdir(fd)
	}
	if err == nil {
		err = unix.Chroot(".")
	}
	if err != nil {
		return fmt.Errorf("cannot let go of the host: %w", err)
	}
	return nil
}

// changeRoot makes the working directory of this thread the root of its namespace, and lets go of what
// was the root (pivot_root(2), "pivot_root(".", ".")").
func changeRoot() error {
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("cannot change the root: %w", err)
	}
	return unix.Unmount(".", unix.MNT_DETACH)
}

// A runner runs programs with everything the image or the host has in place.
type runner struct {
	root   *dirfd.Dir // where they are looked up
	chroot string     // what this process calls that root
	dir    string     // their working directory; empty: /
	in     input
	spec   *Spec

	outside outside
	watched *unpacking // what they must not put too much into; nil: nothing
}

// runAll runs the programs from a thread of their own, whose capabilities are theirs.
func (r runner) runAll(programs Programs) error {
	in := host.NewInit(r.spec.Grace)
	defer in.KillAll()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with what it has given up
		done <- func() error {
			if err := filter(r.spec.NoSync, r.spec.AnyNode, r.outside); err != nil {
				return fmt.Errorf("cannot filter system calls: %w", err)
			}
			if err := errors.Join(isolateSockets(), dropCapabilities()); err != nil {
				return err
			}
			for _, p := range programs.List {
				if err := r.run(in, p, programs.Env); err != nil {
					return r.explainBeside(in, err)
				}
			}
			return nil
		}()
	}()
	return r.watched.watch(done, in.KillAll)
}
