package streams

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// lockName is the file that is locked while the tree is changed. It stays.
const lockName = stateDir + "/lock"

// ErrLocked is part of the error of a function that found another one at work.
var ErrLocked = errors.New("another maintainer is at work")

// A lock keeps other maintainers away until it is closed, or its process dies.
type lock struct {
	file *os.File
	// start is the time of the file system at which the lock was taken. Times of
	// files are compared with it: clocks of other machines or of tests do not matter.
	start int64
}

// lock takes the lock of the tree without waiting for it.
func (w *work) lock() (*lock, error) {
	if err := w.site.mkdirAll(stateDir); err != nil {
		return nil, err
	}
	f, err := w.site.openat(lockName, unix.O_RDWR|unix.O_CREAT, false)
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot change %s: %w", w.Root, lockError(f, err)), f.Close())
	}
	l := &lock{file: f}
	l.start, err = touch(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// lockFor takes the lock as it is needed to change the tree, or only to read it.
func (w *work) lockFor(reading bool) (*lock, error) {
	if reading {
		return w.share()
	}
	return w.lock()
}

// share takes the lock together with other readers, so that nothing changes
// meanwhile. A tree that was never built, or may not be written, has none to take.
func (w *work) share() (*lock, error) {
	start := w.clock().UnixNano() // nothing may be written to ask the file system
	f, err := w.site.open(lockName)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return &lock{start: start}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := flock(f, unix.LOCK_SH); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot check %s: %w", w.Root, lockError(f, err)), f.Close())
	}
	return &lock{file: f, start: start}, nil
}

func (l *lock) close() error {
	if l.file == nil {
		return nil
	}
	// Closing alone is not enough: a program that is just being started has a copy of
	// the file for a moment.
	return errors.Join(flock(l.file, unix.LOCK_UN), l.file.Close())
}

func flock(f *os.File, how int) error {
	return ignoreEINTR(func() error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) })
}

// lockError names the process that holds the lock, if it has said which it is. Those
// that only read do not: what is in the file then is of an earlier one.
func lockError(f *os.File, err error) error {
	if err != unix.EWOULDBLOCK {
		return err
	}
	if flock(f, unix.LOCK_SH) == nil { // closing the file gives it back
		return fmt.Errorf("%w: it only checks or lists, and will be done", ErrLocked)
	}
	text, _ := readRegular(f, maxSmall)
	if pid := strings.TrimSpace(string(text)); pid != "" {
		return fmt.Errorf("%w (process %s)", ErrLocked, pid)
	}
	return ErrLocked
}

// touch writes the process id into the file and returns the time that gave it.
func touch(f *os.File) (int64, error) {
	if err := f.Truncate(0); err != nil {
		return 0, err
	}
	if _, err := f.WriteAt([]byte(fmt.Sprintln(os.Getpid())), 0); err != nil {
		return 0, err
	}
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.ModTime().UnixNano(), nil
}
