package windows

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strconv"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/sandbox"
)

// The new medium: UDF and, for what reads no UDF, ISO 9660:1999.

// bootCatalog is what genisoimage calls the file that names the boot images. It is hidden, and
// one that an earlier run has left on a medium is of no use.
const bootCatalog = "boot.catalog"

// ResultName is what the new medium is called in the scratch directory.
const ResultName = "new.iso"

// maxLabel is how long the name of a volume can be in ISO 9660.
const maxLabel = 32

// pack packs the scratch directory, without the files of images.
func (j *Job) pack(ctx context.Context) error {
	args, err := j.isoArgs()
	if err != nil {
		return err
	}
	return j.run(ctx, j.Output, sandbox.Program{Args: args})
}

// complete puts the files of images onto the new medium.
func (j *Job) complete(ctx context.Context, scratch *dirfd.Dir, names []string) (err error) {
	defer j.step("write the new medium")()
	medium, err := scratch.OpenFile(ResultName, unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, medium.Close()) }()
	var scions []scion
	var total int64
	for _, name := range names {
		f, err := scratch.OpenFile(path.Join(wimsDir, name), unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return err
		}
		scions = append(scions, scion{name, f, st.Size()})
		total += st.Size()
	}
	copied, end := j.Progress("write the new medium", total)
	defer end()
	work, workCtx := errgroup.WithContext(ctx)
	work.Go(func() error { return graft(workCtx, medium, scions, copied) })
	if j.Meanwhile != nil {
		work.Go(func() error { return j.Meanwhile(workCtx) })
	}
	return errors.Join(work.Wait(), context.Cause(ctx))
}

// isoArgs is the command that writes the medium. A boot image that the medium does
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
	return append(args, "-o", at(ResultName), at(mediumDir)), nil
}
