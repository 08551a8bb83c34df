package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/host"
)

// A qemu is one run of QEMU. It finds all files that belong to the guest by their descriptors:
// those that it writes have no names, and vanish with it.
type qemu struct {
	machine machine
	secure  bool
	memory  bytesize.Size

	files []*os.File // the disk, what differs from it, the variables of the firmware
	ours  []*os.File // those of them that are to be closed here
}

// The descriptors of the files.
const (
	diskPath      = "/proc/self/fd/3"
	overlayPath   = "/proc/self/fd/4"
	variablesPath = "/proc/self/fd/5"
)

// prepare makes the files that the guest writes.
func (q *qemu) prepare(ctx context.Context, img *image) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, q.Close())
		}
	}()
	for range 2 {
		f, err := unnamed()
		if err != nil {
			return err
		}
		q.ours = append(q.ours, f)
	}
	overlay, variables := q.ours[0], q.ours[1]
	q.files = []*os.File{img.disk, overlay, variables}
	from, err := os.Open(q.machine.firmwareFor(q.secure).variables)
	if err != nil {
		return err
	}
	_, err = io.Copy(variables, from)
	if err := errors.Join(err, from.Close()); err != nil {
		return err
	}
	return host.Command{
		Args:  []string{"qemu-img", "create", "-q", "-f", "qcow2", "-b", diskPath, "-F", img.format, overlayPath},
		Files: q.files, Env: host.Environ(nil), Stdout: io.Discard, Stderr: io.Discard,
	}.Run(ctx)
}

// Close ends the files that the guest has written.
func (q *qemu) Close() error {
	var errs []error
	for _, f := range q.ours {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// unnamed returns a file without a name. It may become large: it is not put where memory
// takes the place of a disk.
func unnamed() (*os.File, error) {
	dir := os.Getenv("TMPDIR")
	if dir == "" {
		dir = "/var/tmp"
	}
	f, err := os.CreateTemp(dir, "boot")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (q *qemu) by() string {
	if q.kvm() {
		return "KVM"
	}
	return "software emulation of " + q.machine.names[0]
}

func (q *qemu) command() host.Command {
	f := q.machine.firmwareFor(q.secure)
	args := append([]string{q.machine.program.name, "-nodefaults", "-no-user-config"}, f.board...)
	if q.kvm() {
		args = append(args, "-accel", "kvm", "-cpu", "host")
	} else {
		args = append(args, "-accel", "tcg,thread=multi", "-cpu", "max")
	}
	args = append(args,
		"-smp", fmt.Sprint(min(runtime.NumCPU(), 4)),
		"-m", fmt.Sprintf("%dM", q.memory>>20),
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+f.code,
		"-drive", "if=pflash,unit=1,format=raw,file="+variablesPath,
		"-drive", "if=none,id=root,format=qcow2,cache=unsafe,discard=unmap,file="+overlayPath,
		"-device", "virtio-scsi-pci",
		"-device", "scsi-hd,drive=root,bootindex=0", // /dev/sda, as in LXD
		"-device", "virtio-rng-pci", // a guest without entropy waits for it
		"-display", "none",
		"-chardev", "stdio,id=console,signal=off",
		"-serial", "chardev:console",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
	)
	return host.Command{Args: args, Env: host.Environ(nil), Files: q.files}
}
