package squashfs

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// An opener opens the files of a tree again. It goes from one directory to the next, so that
// no path is too long, and keeps those open that it was in last. It is used by one goroutine.
type opener struct {
	*tree
	dirs map[uint32]*os.File
	file *os.File // the last one
	node uint32
	buf  []byte
}

// maxOpen is how many directories are kept open.
const maxOpen = 64

func (o *opener) close() {
	o.forget()
	if o.file != nil {
		o.file.Close()
	}
}

func (o *opener) forget() {
	for _, dir := range o.dirs {
		dir.Close()
	}
	o.dirs = make(map[uint32]*os.File)
}

// buffer returns a buffer that has room for one byte more.
func (o *opener) buffer(n int) []byte {
	if cap(o.buf) <= n {
		o.buf = make([]byte, n+1)
	}
	return o.buf[:n]
}

// read reads a part of a file, which has to end there if it is the last.
func (o *opener) read(i uint32, data []byte, at int64, last bool) error {
	f, err := o.open(i)
	if err == nil {
		err = exactly(f, data, at, last)
	}
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", o.path(i), cause(err))
	}
	return nil
}

// ErrChanged is the cause where a file is not what it was when it was read first, which may have
// been for an image made before.
var ErrChanged = errors.New("it was changed while it was read")

func exactly(f *os.File, data []byte, at int64, last bool) error {
	_, err := f.ReadAt(data, at)
	if err == io.EOF {
		return ErrChanged
	}
	if err != nil || !last {
		return err
	}
	var more [1]byte
	switch _, err := f.ReadAt(more[:], at+int64(len(data))); err {
	case io.EOF:
		return nil
	case nil:
		return ErrChanged
	default:
		return err
	}
}

// nextData returns where data begin at or after a place in a file.
func (o *opener) nextData(i uint32, at, size int64) (int64, error) {
	f, err := o.open(i)
	if err != nil {
		return 0, fmt.Errorf("cannot read %s: %w", o.path(i), cause(err))
	}
	next, err := f.Seek(at, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // there are none
		return size, nil
	case err != nil: // the file system does not tell
		return at, nil
	}
	return next, nil
}

func (o *opener) open(i uint32) (*os.File, error) {
	if o.file != nil && o.node == i {
		return o.file, nil
	}
	f, err := o.at(i, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	if o.file != nil {
		o.file.Close()
	}
	o.file, o.node = f, i
	return f, nil
}

// at opens a node.
func (o *opener) at(i uint32, flags int) (*os.File, error) {
	n := o.nodes.at(i)
	dir, err := o.dir(n.parent)
	if err != nil {
		return nil, err
	}
	return dirfd.OpenAt(dir, o.name(n), flags)
}

// dir returns a directory, which is open until the next is asked for.
func (o *opener) dir(i uint32) (*os.File, error) {
	if i == 0 {
		return o.root.File(), nil
	}
	if dir, ok := o.dirs[i]; ok {
		return dir, nil
	}
	dir, err := o.at(i, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	if o.dirs == nil || len(o.dirs) == maxOpen {
		o.forget()
	}
	o.dirs[i] = dir
	return dir, nil
}
