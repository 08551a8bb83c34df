package pack

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A Result is a finished file that is to appear in a directory.
type Result struct {
	Path   string // where it is kept
	Name   string // what it is called there
	Size   int64
	SHA256 string
}

// Publish puts a set of files into dir, which it makes if needed. All of them are
// written and synced before the first appears under its name, so that a failure
// leaves the directory as it was. A file that is there already, byte for byte, stays.
func Publish(dir string, set []Result) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var staged []*stagedFile
	defer func() {
		for _, f := range staged {
			err = errors.Join(err, f.discard())
		}
	}()
	for _, r := range set {
		f, err := r.stage(dir)
		if err != nil {
			return fmt.Errorf("cannot write %s: %w", filepath.Join(dir, r.Name), err)
		}
		staged = append(staged, f)
	}
	for i, f := range staged {
		if err := f.appear(filepath.Join(dir, set[i].Name)); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// A stagedFile is written and synced but not to be seen yet. It has no name, so that
// it vanishes with this process, or a hidden one where the file system knows no files
// without. A nil one is there already.
type stagedFile struct {
	*os.File
	hidden string
}

// stage copies the file to a staged one in dir.
func (r Result) stage(dir string) (*stagedFile, error) {
	if same, err := r.isThere(dir); same || err != nil {
		return nil, err
	}
	in, err := os.Open(r.Path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := newStaged(dir, r.Name)
	if err != nil {
		return nil, err
	}
	if err = errors.Join(r.copy(out.File, in), out.Chmod(0o644), out.Sync()); err != nil {
		return nil, errors.Join(err, out.discard())
	}
	return out, nil
}

// ErrDamaged is the cause where a kept file is no longer what it was.
var ErrDamaged = errors.New("the kept file is damaged")

// copy copies the bytes and sees to it that they are those of the digest.
func (r Result) copy(out, in *os.File) error {
	h := sha256.New()
	var err error
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		_, err = io.Copy(h, out)
	} else {
		_, err = io.Copy(io.MultiWriter(out, h), in)
	}
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != r.SHA256 {
		return fmt.Errorf("%w: it has the SHA-256 %s, not %s", ErrDamaged, got, r.SHA256)
	}
	return nil
}

func newStaged(dir, name string) (*stagedFile, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err == nil {
		return &stagedFile{os.NewFile(uintptr(fd), name), ""}, nil
	}
	if err != unix.EOPNOTSUPP && err != unix.EISDIR && err != unix.ENOENT {
		return nil, err
	}
	hidden := hiddenName(filepath.Join(dir, name))
	f, err := os.Create(hidden)
	return &stagedFile{f, hidden}, err
}

// hiddenName is where a file is for a moment before it has its name. It is always the
// same, so that what a killed process left there is overwritten.
func hiddenName(name string) string {
	return filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".new")
}

// isThere tells whether dir has the file. What is no regular file is not opened: a named
// pipe would wait for its other end.
func (r Result) isThere(dir string) (bool, error) {
	name := filepath.Join(dir, r.Name)
	if st, err := os.Lstat(name); err != nil || !st.Mode().IsRegular() || st.Size() != r.Size {
		return false, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return false, nil
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return false, err
	}
	return hex.EncodeToString(h.Sum(nil)) == r.SHA256, nil
}

// appear gives the file its name, in place of what has it.
func (f *stagedFile) appear(name string) error {
	if f == nil {
		return nil
	}
	if f.hidden == "" {
		self := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
		err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
		if !errors.Is(err, fs.ErrExist) {
			return wrapName(name, err)
		}
		// A link cannot replace a file: the new one gets another name first.
		f.hidden = hiddenName(name)
		if err := os.RemoveAll(f.hidden); err != nil {
			return err
		}
		if err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, f.hidden, unix.AT_SYMLINK_FOLLOW); err != nil {
			return wrapName(name, err)
		}
	}
	if err := os.Rename(f.hidden, name); err != nil {
		return err
	}
	f.hidden = ""
	return nil
}

// discard closes the file, and removes it if it has not appeared.
func (f *stagedFile) discard() error {
	if f == nil {
		return nil
	}
	err := f.Close()
	if f.hidden != "" {
		err = errors.Join(err, os.Remove(f.hidden))
	}
	return err
}

func wrapName(name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: "link", Path: name, Err: err}
}

func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
