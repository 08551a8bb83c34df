package sandbox

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/tree"
)

// How programs of the host put files into an image of which they see nothing, so that no
// link in it can lead them astray.

// unpacked is where in a root file system the files lie before they are moved.
const unpacked = "/.unpacked.tmp"

// An unpacking is a root file system of which programs see an empty directory.
type unpacking struct {
	root                *dirfd.Dir
	into                string
	maxSize, maxEntries int64
}

// unpacking returns a mount of the directory, which is not in the tree.
func (s *Stack) unpacking(m Mount) (part int, u *unpacking, err error) {
	if err := s.mount(s.Point); err != nil {
		return -1, nil, err
	}
	// Of a mount that is not in the tree there can be no other on older kernels.
	part, err = detachPart(s.Point)
	if err != nil {
		return -1, nil, err
	}
	whole, err := detach(s.Point, true)
	if err != nil {
		return -1, nil, errors.Join(err, unix.Close(part))
	}
	root, err := dirfd.Open(fmt.Sprintf("/proc/self/fd/%d", whole), dirfd.InRoot)
	if err := errors.Join(err, unix.Close(whole), unmount(s.Point)); err != nil {
		return -1, nil, errors.Join(err, unix.Close(part))
	}
	return part, &unpacking{root, m.Into, m.MaxSize, m.MaxEntries}, nil
}

func detachPart(dir string) (part int, err error) {
	root, err := dirfd.Open(dir, dirfd.InRoot)
	if err != nil {
		return -1, err
	}
	defer root.Close()
	if err := root.Mkdir(unpacked, tree.Unset); err != nil {
		return -1, err
	}
	err = onto(root, unpacked, func(name string) error {
		part, err = detach(name, true)
		return err
	})
	return part, err
}

// finish moves the files to their place; there may be no unpacking.
func (u *unpacking) finish() error {
	if u == nil {
		return nil
	}
	if err := u.check(); err != nil {
		return err
	}
	if err := tree.DropDevices(u.root, unpacked, u.into); err != nil {
		return err
	}
	return tree.Move(u.root, unpacked, u.into)
}

// ErrTooMuch is the cause where programs have put more than they may into a directory.
var ErrTooMuch = errors.New("it unpacks to more than is allowed")

// watch waits for the end of the programs, and ends them if they put too much into the
// directory. It looks seldom enough to cost little, however long a look takes.
func (u *unpacking) watch(done <-chan error, end func()) error {
	if u == nil || u.maxSize == 0 && u.maxEntries == 0 {
		return <-done
	}
	for pause := minPause; ; {
		select {
		case err := <-done:
			return err
		case <-time.After(pause):
		}
		start := time.Now()
		if err := u.check(); errors.Is(err, ErrTooMuch) {
			end()
			<-done
			return err
		}
		pause = max(minPause, restFactor*time.Since(start))
	}
}

const (
	minPause   = 250 * time.Millisecond
	restFactor = 20
)

// check finds out whether too much is in the directory. While programs are at work things
// go between being found and being looked at, so that only what is too much counts.
func (u *unpacking) check() error {
	if u.maxSize == 0 && u.maxEntries == 0 {
		return nil
	}
	var size, entries int64
	inodes := make(map[uint64]bool) // that have several names
	return u.root.Walk(unpacked, func(_ string, st *unix.Stat_t) error {
		entries++
		if st.Nlink == 1 || st.Mode&unix.S_IFMT == unix.S_IFDIR || !inodes[st.Ino] {
			size += st.Blocks * 512
		}
		if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			inodes[st.Ino] = true
		}
		switch {
		case u.maxSize != 0 && size > u.maxSize:
			return fmt.Errorf("%w: %s", ErrTooMuch, bytesize.Size(u.maxSize))
		case u.maxEntries != 0 && entries > u.maxEntries:
			return fmt.Errorf("%w: %d files and directories", ErrTooMuch, u.maxEntries)
		}
		return nil
	})
}

func (u *unpacking) close() {
	if u != nil {
		u.root.Close()
	}
}
