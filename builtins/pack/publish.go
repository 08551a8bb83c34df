package pack

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
)

// Finished files on their way to the user. How they were made is of no concern here.

// A Result is a finished file that is to appear in a directory.
type Result struct {
	Path   string // where it is kept
	Name   string // what it is called there
	Size   int64
	SHA256 string
	Fresh  bool // it was just made, and read for its digest
	Seen   Mark // what was published under the name before
}

// A Mark tells a published file from any other that takes its place, and from itself after a
// change: nobody can set the time of that. It saves reading a large file to see that it is
// there.
type Mark struct {
	SHA256  string `json:"sha256"` // of its content
	Inode   uint64 `json:"inode"`
	Changed int64  `json:"changed"` // its ctime in nanoseconds
}

func (r Result) mark(st unix.Stat_t) Mark { return Mark{r.SHA256, st.Ino, st.Ctim.Nano()} }

// is tells whether the mark is of the file with these properties.
func (m Mark) is(st unix.Stat_t) bool { return m.Inode == st.Ino && m.Changed == st.Ctim.Nano() }

// ErrDamaged is the cause where a kept file is no longer what it was.
var ErrDamaged = errors.New("the kept file is damaged")

// Publish puts a set of files into a directory, which it makes if needed. All of them are
// written and synced before the first appears under its name, and whatever is in the way
// is found before that, so that what fails until then leaves the directory as it was. A
// file that is there already, byte for byte, stays. In the set it leaves the marks of what is
// there then.
//
// The first file says what the others are: while these are replaced there is none, so that
// whatever ends the process, what is there belongs together.
func Publish(ctx context.Context, name string, set []Result) (err error) {
	if err := os.MkdirAll(name, 0o755); err != nil {
		return err
	}
	dir, err := dirfd.Open(name, dirfd.Refuse)
	if err != nil {
		return err
	}
	defer dir.Close()
	if failed, err := publish(ctx, dir, set); err != nil {
		return fmt.Errorf("cannot write %s: %w", filepath.Join(name, failed), err)
	}
	return nil
}

// publish returns the file that it could not write.
func publish(ctx context.Context, dir *dirfd.Dir, set []Result) (failed string, err error) {
	p := publication{dir: dir, staged: make(map[string]*dirfd.Writer)}
	defer func() { err = errors.Join(err, p.discard()) }()
	for _, r := range set {
		if err = context.Cause(ctx); err == nil {
			err = p.stage(r)
		}
		if err != nil {
			return r.Name, err
		}
	}
	if len(set) == 0 {
		return "", nil
	}
	first, others := set[0], set[1:]
	if len(p.staged) > 1 && p.staged[first.Name] != nil {
		if err := errors.Join(dir.Remove(first.Name), dir.Sync(".")); err != nil {
			return first.Name, err
		}
	}
	for _, r := range append(slices.Clone(others), first) {
		if err := p.appear(r.Name); err != nil {
			return r.Name, err
		}
	}
	if err := dir.Sync("."); err != nil {
		return "", err
	}
	for i, r := range set {
		st, err := dir.Lstat(r.Name)
		if err != nil {
			return r.Name, err
		}
		set[i].Seen = r.mark(st)
	}
	return "", nil
}

// A publication is a set of files that are written and synced but not to be seen yet, by
// their names.
type publication struct {
	dir    *dirfd.Dir
	staged map[string]*dirfd.Writer
}

func (p *publication) discard() error {
	var errs []error
	for _, w := range p.staged {
		errs = append(errs, w.Discard())
	}
	return errors.Join(errs...)
}

// stage copies a file to a staged one, unless it is there already. What a killed process has
// left of one goes in any case.
func (p *publication) stage(r Result) error {
	if err := p.dir.RemoveAll(dirfd.TempName(r.Name)); err != nil {
		return err
	}
	there, err := p.isThere(r)
	if there || err != nil {
		return err
	}
	in, err := os.Open(r.Path)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := p.dir.Stage(r.Name, 0o644)
	if err != nil {
		return err
	}
	p.staged[r.Name] = out
	if err := r.copy(out, in); err != nil {
		return err
	}
	return out.Sync()
}

// copy copies the bytes and sees to it that they are those of the digest, once.
func (r Result) copy(out *dirfd.Writer, in *os.File) error {
	cloned := out.Clone(in) == nil
	h := sha256.New()
	var err error
	switch {
	case r.Fresh && cloned:
		return nil
	case r.Fresh:
		_, err = io.Copy(out.File(), in)
		return err
	case cloned:
		_, err = io.Copy(h, out.File())
	default:
		_, err = io.Copy(io.MultiWriter(out.File(), h), in)
	}
	if err != nil {
		return err
	}
	if got := digest.Of(h).String(); got != r.SHA256 {
		return fmt.Errorf("%w: it has the SHA-256 %s, not %s", ErrDamaged, got, r.SHA256)
	}
	return nil
}

// isThere tells whether the directory has the file; that something else is in its place
// which a file cannot replace is an error. What is no regular file is not opened: a named
// pipe would wait for its other end.
func (p *publication) isThere(r Result) (bool, error) {
	st, err := p.dir.Lstat(r.Name)
	if err != nil {
		return false, nil
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return false, unix.EISDIR
	case unix.S_IFREG:
	default:
		return false, nil
	}
	if st.Size != r.Size {
		return false, nil
	}
	if r.Seen.is(st) {
		return r.Seen.SHA256 == r.SHA256, nil
	}
	f, err := p.dir.OpenFile(r.Name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, nil
	}
	defer f.Close()
	sum, _, err := digest.Reader(f)
	return sum.String() == r.SHA256, err
}

// appear gives a staged file its name, in place of what has it.
func (p *publication) appear(name string) error {
	w := p.staged[name]
	if w == nil {
		return nil
	}
	return w.Appear(name)
}
