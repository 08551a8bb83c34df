package windows

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Files of a medium on their way into a directory.

// unpackOthers copies all files of the medium into the scratch directory but some.
func (j *Job) unpackOthers(ctx context.Context, scratch *dirfd.Dir, but []string) error {
	defer j.step("unpack the medium")()
	return fs.WalkDir(j.Medium, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return scratch.MkdirAll(path.Join(mediumDir, name), 0o755)
		case slices.Contains(but, name) || name == bootCatalog:
			return nil
		}
		return j.unpack(ctx, scratch, name)
	})
}

// unpack copies a file of the medium.
func (j *Job) unpack(ctx context.Context, scratch *dirfd.Dir, name string) error {
	n, err := j.Medium.find("unpack", name)
	if err != nil {
		return err
	}
	if err := scratch.MkdirAll(path.Join(mediumDir, path.Dir(name)), 0o755); err != nil {
		return err
	}
	w, err := scratch.Create(path.Join(mediumDir, name), 0o644)
	if err != nil {
		return err
	}
	return errors.Join(j.Medium.copy(ctx, w, n), setTime(w, n.modified), w.Close())
}

// copyChunk is how much is copied before it is seen whether the work is still wanted.
const copyChunk = 64 << 20

// copy copies a file, within the kernel where that can.
func (v *Volume) copy(ctx context.Context, w *dirfd.Writer, n *node) error {
	c := &content{v: v, extents: n.extents, size: n.size}
	left, done := n.size, int64(0)
	for _, e := range n.extents {
		for at := int64(0); at < e.length && left > 0; {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			part := min(e.length-at, left, copyChunk)
			copied := 0
			if start := e.start + at; e.start >= 0 {
				copied, _ = unix.CopyFileRange(int(v.file.Fd()), &start, int(w.File().Fd()), nil, int(part), 0)
			}
			if copied <= 0 { // the kernel cannot, or nothing is there
				n, err := io.Copy(w, io.NewSectionReader(c, done, part))
				if err != nil {
					return err
				}
				copied = int(n)
			}
			at, done, left = at+int64(copied), done+int64(copied), left-int64(copied)
		}
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
