package site

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
)

// One maintainer at a time, others are told who is at work. Readers keep writers away, too:
// what they look at must not change meanwhile.

// lockName is the file that is locked while the site is changed. It stays, and has no
// meaning but for its lock: who holds that is at work, and who dies lets go of it.
const lockName = StateDir + "/lock"

// ErrLocked is part of the error of a function that found another one at work.
var ErrLocked = errors.New("another maintainer is at work")

// A Lock keeps other maintainers away until it is closed, or its process dies.
type Lock struct {
	file *os.File
	// Start is the time of the file system at which the lock was taken. Times of
	// files are compared with it: clocks of other machines or of tests do not matter.
	Start int64
}

// Lock takes the lock of the site without waiting for it: to change something, or, with
// other readers, so that nothing changes meanwhile.
func (f *Files) Lock(reading bool, clock host.Clock) (*Lock, error) {
	if reading {
		return f.share(clock)
	}
	if err := f.MkdirAll(StateDir, DirMode); err != nil {
		return nil, err
	}
	file, err := f.OpenFile(lockName, unix.O_RDWR|unix.O_CREAT, FileMode)
	if err != nil {
		return nil, err
	}
	if err := dirfd.Flock(file, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot change %s: %w", f.Root, lockError(file, err)), file.Close())
	}
	l := &Lock{file: file}
	l.Start, err = touch(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return l, nil
}

// share takes the lock of a reader. A site that was never built, or may not be written,
// has none to take.
func (f *Files) share(clock host.Clock) (*Lock, error) {
	start := clock().UnixNano() // nothing may be written to ask the file system
	file, err := f.Open(lockName)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return &Lock{Start: start}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := dirfd.Flock(file, unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot check %s: %w", f.Root, lockError(file, err)), file.Close())
	}
	return &Lock{file: file, Start: start}, nil
}

// Close gives the lock back.
func (l *Lock) Close() error {
	if l.file == nil {
		return nil
	}
	// Closing alone is not enough: a program that is just being started has a copy of
	// the file for a moment.
	return errors.Join(dirfd.Flock(l.file, unix.LOCK_UN), l.file.Close())
}

// lockError names the process that holds the lock, if it has said which it is. Those
// that only read do not: what is in the file then is of an earlier one.
func lockError(f *os.File, err error) error {
	if err != unix.EWOULDBLOCK {
		return err
	}
	if dirfd.Flock(f, unix.LOCK_SH|unix.LOCK_NB) == nil { // closing the file gives it back
		return fmt.Errorf("%w: it only checks or lists, and will be done", ErrLocked)
	}
	text, _ := dirfd.ReadRegular(f, maxSmall)
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
