package windows

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Files of a medium on their way into a directory.

// unpackOthers copies all files of the medium into the scratch directory but some, which are
// put onto the new one otherwise: see graft.
func (j *Job) unpackOthers(ctx context.Context, scratch *dirfd.Dir, but []string, copied func(int64)) error {
	defer j.step("unpack the medium")()
	return fs.WalkDir(j.Medium, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return scratch.MkdirAll(path.Join(mediumDir, name), 0o755)
		case name == bootCatalog:
			return nil
		case slices.Contains(but, name):
			return j.standIn(scratch, name)
		}
		return j.unpack(ctx, scratch, mediumDir, name, copied)
	})
}

// standIn makes the file of one block in place of which another one is put.
func (j *Job) standIn(scratch *dirfd.Dir, name string) error {
	n, err := j.Medium.find("unpack", name)
	if err != nil {
		return err
	}
	w, err := scratch.Create(path.Join(mediumDir, name), 0o644)
	if err != nil {
		return err
	}
	return errors.Join(w.File().Truncate(sector), setTime(w, n.modified), w.Close())
}

// unpack copies a file of the medium into a directory.
func (j *Job) unpack(ctx context.Context, scratch *dirfd.Dir, dir, name string, copied func(int64)) error {
	n, err := j.Medium.find("unpack", name)
	if err != nil {
		return err
	}
	if err := scratch.MkdirAll(path.Join(dir, path.Dir(name)), 0o755); err != nil {
		return err
	}
	w, err := scratch.Create(path.Join(dir, name), 0o644)
	if err != nil {
		return err
	}
	return errors.Join(j.Medium.copy(ctx, w.File(), n, copied), setTime(w, n.modified), w.Close())
}

// copy copies a file. What is all zeros is a hole.
func (v *Volume) copy(ctx context.Context, w *os.File, n *node, copied func(int64)) error {
	done := int64(0)
	for _, e := range n.extents {
		part := min(e.length, n.size-done)
		if e.start >= 0 {
			if err := copyRange(ctx, w, done, v.file, e.start, part, copied); err != nil {
				return err
			}
		}
		done += part
	}
	return w.Truncate(n.size)
}

// copyChunk is how much is copied before it is seen whether the work is still wanted.
const copyChunk = 16 << 20

// copyRange copies a part of a file into another one, within the kernel where that can.
func copyRange(ctx context.Context, to *os.File, at int64, from *os.File, start, length int64, copied func(int64)) error {
	for length > 0 {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		part, in, out := min(length, copyChunk), start, at
		short, _ := unix.CopyFileRange(int(from.Fd()), &in, int(to.Fd()), &out, int(part), 0)
		n := int64(short)
		if n <= 0 { // the kernel cannot
			var err error
			n, err = io.Copy(io.NewOffsetWriter(to, at), io.NewSectionReader(from, start, part))
			if err == nil && n == 0 {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return err
			}
		}
		at, start, length = at+n, start+n, length-n
		copied(n)
	}
	return nil
}

// setTime gives a file the time that it has where it comes from.
func setTime(w *dirfd.Writer, t time.Time) error {
	ts := unix.NsecToTimespec(t.UnixNano())
	times := []unix.Timespec{ts, ts}
	err := unix.UtimesNanoAt(int(w.File().Fd()), "", times, unix.AT_EMPTY_PATH)
	return err
}
