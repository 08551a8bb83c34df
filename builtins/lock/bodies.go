package lock

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/digest"
)

// Bodies is the directory with the bytes of answers: a file for each, named by its SHA-256. They
// are not synced, as whoever takes one reads it first and trusts no name.
type Bodies struct{ Dir string }

// making begins the names of files in the making.
const making = ".new-"

// unusedAfter is how long a body is kept that no build asks for: they can be had again only from
// archives that keep what is old.
const unusedAfter = 90 * 24 * time.Hour

// ErrDamaged is the cause where a body is not what it is called. It has been removed.
var ErrDamaged = errors.New("it is damaged")

// Open opens a body, if it is there and what it is to be.
func (b Bodies) Open(c Content) (*os.File, error) {
	name := b.name(c)
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	sum, size, err := digest.Reader(f)
	if err == nil && (sum.String() != c.SHA256 || size != c.Size) {
		err = errors.Join(fmt.Errorf("%w: it has the SHA-256 %s and %d bytes, not %s and %d", ErrDamaged, sum, size, c.SHA256, c.Size), os.Remove(name))
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	if !linked(f) {
		os.Chtimes(name, time.Time{}, time.Now()) // nothing depends on it if it cannot be said
	}
	return f, nil
}

// linked tells whether a body is a file of the store as well, which then knows how long it is of
// use, and when it was last changed.
func linked(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink > 1
}

// Has tells whether there is a body of a content, as far as its name says.
func (b Bodies) Has(c Content) bool {
	st, err := os.Stat(b.name(c))
	return err == nil && st.Size() == c.Size
}

func (b Bodies) name(c Content) string { return filepath.Join(b.Dir, c.SHA256) }

// Keep makes a file, which nothing changes any more, a body.
func (b Bodies) Keep(name string, c Content) error {
	temp := b.temp()
	if err := link(name, temp); err != nil {
		return err
	}
	return os.Rename(temp, b.name(c))
}

// Copy makes a file of a body.
func (b Bodies) Copy(c Content, name string) error { return link(b.name(c), name) }

// link gives a file another name, or where that cannot be, copies it.
func link(name, other string) error {
	if os.Link(name, other) == nil {
		return nil
	}
	from, err := os.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(other, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// Write makes bytes in memory a body.
func (b Bodies) Write(data []byte) (Content, error) {
	w, err := b.Create()
	if err != nil {
		return Content{}, err
	}
	defer w.Close()
	if _, err := w.Write(data); err != nil {
		return Content{}, err
	}
	return w.Finish()
}

func (b Bodies) temp() string { return filepath.Join(b.Dir, making+rand.Text()) }

// A Body is one in the making.
type Body struct {
	bodies Bodies
	file   *os.File
	hash   hash.Hash
	size   int64
}

// Create begins a body whose digest is not known yet.
func (b Bodies) Create() (*Body, error) {
	f, err := os.OpenFile(b.temp(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	// Programs that are shown one, such as a keyring, need not run as its owner.
	if err := f.Chmod(0o644); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return &Body{bodies: b, file: f, hash: sha256.New()}, nil
}

// Write implements io.Writer.
func (w *Body) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	w.hash.Write(p[:n])
	w.size += int64(n)
	return n, err
}

// Finish gives a whole body its name.
func (w *Body) Finish() (Content, error) {
	c := Content{hex.EncodeToString(w.hash.Sum(nil)), w.size}
	return c, os.Rename(w.file.Name(), w.bodies.name(c))
}

// Close ends the making, and removes what was not finished.
func (w *Body) Close() error {
	err := w.file.Close()
	if rm := os.Remove(w.file.Name()); !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}

// Sweep removes what nobody has asked for for long.
func (b Bodies) Sweep() error {
	entries, err := os.ReadDir(b.Dir)
	errs := []error{err}
	for _, e := range entries {
		name := filepath.Join(b.Dir, e.Name())
		var st unix.Stat_t
		err := unix.Lstat(name, &st)
		if err == nil && st.Nlink == 1 && time.Since(time.Unix(st.Mtim.Unix())) > unusedAfter {
			err = os.Remove(name)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
