package windows

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"imagebuilder/builtins/sandbox"
)

// The new medium: UDF and, for what reads no UDF, ISO 9660:1999. It goes through a pipe, so
// that whoever gets it can put it where it belongs, and take its digest, on its way.

// bootCatalog is what genisoimage calls the file that names the boot images. It is hidden, and
// one that an earlier run has left on a medium is of no use.
const bootCatalog = "boot.catalog"

// pipeName is that of the pipe in the scratch directory.
const pipeName = "pipe"

// maxLabel is how long the name of a volume can be in ISO 9660.
const maxLabel = 32

// write packs the medium in the scratch directory.
func (j *Job) write(ctx context.Context) error {
	defer j.step("write the new medium")()
	args, err := j.isoArgs()
	if err != nil {
		return err
	}
	pipe := j.hostPath(pipeName)
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		return fmt.Errorf("cannot make a pipe: %w", err)
	}
	r, err := os.OpenFile(pipe, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	// While it is open, the pipe has not ended, although genisoimage has not begun.
	w, err := os.OpenFile(pipe, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	unix.FcntlInt(r.Fd(), unix.F_SETPIPE_SZ, 1<<20) // what is smaller works as well
	work, workCtx := errgroup.WithContext(ctx)
	work.Go(func() error {
		err := j.run(workCtx, j.Output, sandbox.Program{Args: args})
		return errors.Join(err, w.Close())
	})
	work.Go(func() error {
		_, err := io.CopyBuffer(struct{ io.Writer }{j.Target}, struct{ io.Reader }{r}, make([]byte, 1<<20))
		if err != nil {
			err = fmt.Errorf("%w: %w", errTarget, err)
		}
		return err // which ends genisoimage
	})
	if j.Meanwhile != nil {
		work.Go(func() error { return j.Meanwhile(workCtx) })
	}
	return errors.Join(work.Wait(), context.Cause(ctx))
}

var errTarget = errors.New("cannot write the new medium")

// isoArgs is the command that writes the medium to the pipe. A boot image that the medium does
// not have is left out: some only boot in one way.
func (j *Job) isoArgs() ([]string, error) {
	args := []string{"genisoimage", "-quiet", "-l", "-allow-limited-size", "-udf"}
	if j.Medium.ascii() {
		args = append(args, "-iso-level", "4")
	} else { // of which genisoimage can write no other names
		args = append(args, "-iso-level", "3", "-input-charset", "utf-8")
	}
	if label := []rune(j.Medium.Label); len(label) > 0 {
		args = append(args, "-V", string(label[:min(len(label), maxLabel)]))
	}
	entries := 0
	for _, b := range j.Boot {
		name, err := Find(j.Medium, b.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if entries++; entries > 1 {
			args = append(args, "-eltorito-alt-boot")
		}
		if b.Platform == "bios" {
			args = append(args, "-no-emul-boot", "-b", name, "-boot-load-seg", "0")
		} else {
			args = append(args, "-no-emul-boot", "-e", name)
		}
		args = append(args, "-boot-load-size", strconv.Itoa(b.Sectors))
	}
	if entries == 0 {
		return nil, errors.New("the medium has no boot image: it is no installation medium of Windows")
	}
	args = append(args, "-c", bootCatalog, "-hide", bootCatalog, "-hide-joliet", bootCatalog)
	return append(args, "-o", at(pipeName), at(mediumDir)), nil
}
