package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Programs for another machine, which the kernel hands to an emulator if one is registered.
// That register is the kernel's, the same for all namespaces of the host: who has the host
// puts emulators there, and builds leave it as it is.

// Emulators says what programs for another machine need.
const Emulators = "for this machine to run such, install the Debian package qemu-user-static; where no systemd registers its emulators: " +
	"mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc && /lib/systemd/systemd-binfmt"

// Runs tells whether this machine takes a file for a program that begins in one of these
// ways. It is tried: the register need not be visible from where the tool runs, such as a
// container. What such a program does, having nothing but a beginning, is to fail at once.
func Runs(ctx context.Context, heads [][]byte) (bool, error) {
	for _, head := range heads {
		err := run(ctx, head)
		var failed *ExitError
		switch {
		case err == nil, errors.As(err, &failed):
			return true, nil
		case !errors.Is(err, unix.ENOEXEC):
			return false, err
		}
	}
	return false, nil
}

// run runs a program from memory.
func run(ctx context.Context, program []byte) error {
	fd, err := unix.MemfdCreate("program", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("cannot hold a program in memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), "program")
	defer file.Close()
	if _, err := file.Write(program); err != nil {
		return err
	}
	return Command{
		Args: []string{"program"}, Path: "/proc/self/fd/3", Env: Environ(nil), Stdout: io.Discard, Stderr: io.Discard, Files: []*os.File{file},
	}.Run(ctx)
}
