package dirfd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// How a file comes to be: as a whole, or not at all, whatever ends the process.

// TempSuffix ends the hidden names of files that are not finished.
const TempSuffix = ".tmp"

// TempName is what a file is called before it is complete. It is always the same, so that
// what a killed process has left there gives way.
func TempName(name string) string {
	return path.Join(path.Dir(name), "."+path.Base(name)+TempSuffix)
}

// A Writer is a new file while it is written.
type Writer struct {
	dir  *Dir
	file *os.File
	name string // "": it has none yet
	done bool   // it has appeared
}

// Create makes a file that must not be there yet, with exactly the mode.
func (d *Dir) Create(name string, mode uint32) (*Writer, error) {
	if err := d.allow("create", name); err != nil {
		return nil, err
	}
	f, err := d.OpenFile(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, mode)
	if err != nil {
		return nil, err
	}
	w := &Writer{dir: d, file: f, name: name}
	if err := unix.Fchmod(int(f.Fd()), mode); err != nil { // whatever the umask
		return nil, errors.Join(d.pathError("chmod", name, err), f.Close(), d.Remove(name))
	}
	return w, nil
}

// Stage makes a file that is to be called name, but that nobody sees yet: one without a
// name, which vanishes with this process, or a hidden one where the file system has none
// of that kind. [Writer.Appear] gives it its name, [Writer.Discard] ends it.
func (d *Dir) Stage(name string, mode uint32) (*Writer, error) {
	if err := d.allow("create", name); err != nil {
		return nil, err
	}
	fd, err := d.openat2(path.Dir(d.named(name)), unix.O_TMPFILE|unix.O_RDWR, mode, true)
	if err == nil {
		w := &Writer{dir: d, file: os.NewFile(uintptr(fd), d.shown(name))}
		if err := unix.Fchmod(fd, mode); err != nil {
			return nil, errors.Join(d.pathError("chmod", name, err), w.file.Close())
		}
		return w, nil
	}
	if err != unix.EOPNOTSUPP && err != unix.EISDIR && err != unix.ENOENT {
		return nil, &fs.PathError{Op: "create", Path: d.shown(name), Err: err}
	}
	if err := d.RemoveAll(TempName(name)); err != nil {
		return nil, err
	}
	return d.Create(TempName(name), mode)
}

func (w *Writer) Write(p []byte) (int, error) {
	if err := w.dir.allow("write", w.file.Name()); err != nil {
		return 0, err
	}
	return w.file.Write(p)
}

// ReadFrom copies inside the kernel where it can.
func (w *Writer) ReadFrom(r io.Reader) (int64, error) {
	if err := w.dir.allow("write", w.file.Name()); err != nil {
		return 0, err
	}
	return w.file.ReadFrom(r)
}

// Clone makes the file share the blocks of another, where the file system can do that.
// Otherwise nothing has been written.
func (w *Writer) Clone(in *os.File) error {
	if err := w.dir.allow("write", w.file.Name()); err != nil {
		return err
	}
	return w.dir.pathError("clone", w.file.Name(), unix.IoctlFileClone(int(w.file.Fd()), int(in.Fd())))
}

// File is the open file.
func (w *Writer) File() *os.File { return w.file }

// Sync makes what was written durable.
func (w *Writer) Sync() error {
	if err := w.dir.allow("sync", w.file.Name()); err != nil {
		return err
	}
	return w.file.Sync()
}

// Close closes the file, which stays if it has a name.
func (w *Writer) Close() error { return w.file.Close() }

// Appear gives a staged file its name, in place of what has it; a directory there is an
// error.
func (w *Writer) Appear(name string) error {
	if w.name == "" {
		err := w.link(name)
		if !errors.Is(err, fs.ErrExist) {
			w.done = err == nil
			return err
		}
		// A link cannot replace a file: the new one gets another name first.
		if err := w.dir.RemoveAll(TempName(name)); err != nil {
			return err
		}
		if err := w.link(TempName(name)); err != nil {
			return err
		}
		w.name = TempName(name)
	}
	if err := w.dir.Rename(w.name, name); err != nil {
		return err
	}
	w.done = true
	return nil
}

// link gives a file without a name one that must be free.
func (w *Writer) link(name string) error {
	return w.dir.Change("put", name, func(dirfd int, base string) error {
		self := fmt.Sprintf("/proc/self/fd/%d", w.file.Fd())
		return unix.Linkat(unix.AT_FDCWD, self, dirfd, base, unix.AT_SYMLINK_FOLLOW)
	})
}

// Discard closes a staged file, and removes it unless it has appeared.
func (w *Writer) Discard() error {
	err := w.file.Close()
	if w.name != "" && !w.done {
		err = errors.Join(err, w.dir.Remove(w.name))
	}
	return err
}

// WriteFile makes a new file with what fill writes, and makes its content durable.
func (d *Dir) WriteFile(name string, mode uint32, fill func(*bufio.Writer) error) error {
	out, err := d.Create(name, mode)
	if err != nil {
		return err
	}
	return errors.Join(out.fill(fill), out.Close())
}

// fill writes what fill does, and makes it durable.
func (w *Writer) fill(fill func(*bufio.Writer) error) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	err := fill(buffered)
	if err == nil {
		err = buffered.Flush()
	}
	if err == nil {
		err = w.Sync()
	}
	return err
}

// Bytes is a content for WriteFile and Replace that is there already.
func Bytes(content []byte) func(*bufio.Writer) error {
	return func(w *bufio.Writer) error { _, err := w.Write(content); return err }
}

// Replace writes a file so that it is there as a whole, old or new, at any time. A
// left-over of one that was killed gives way; where the file system has files without a
// name, nobody sees one but for the moment in which the new file takes the old one's place.
// Those who replace the same file keep each other out.
func (d *Dir) Replace(name string, mode uint32, fill func(*bufio.Writer) error) error {
	if err := d.Remove(TempName(name)); err != nil {
		return err
	}
	out, err := d.Stage(name, mode)
	if err != nil {
		return err
	}
	err = out.fill(fill)
	if err == nil {
		err = out.Appear(name)
	}
	if err = errors.Join(err, out.Discard()); err != nil {
		return err
	}
	return d.Sync(path.Dir(d.named(name)))
}
