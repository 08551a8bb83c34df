package site

import (
	"context"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Files are hashed here because they may be large and may change meanwhile: one is read
// once for all its hashes, which are computed side by side, and its stamp is compared
// before and after.

// A Stamp is what tells one state of a file from another without reading it.
type Stamp struct {
	Size, Mtime int64 // Mtime in nanoseconds
	Ino         uint64
}

// StampOf returns the stamp in what stat(2) says.
func StampOf(st *unix.Stat_t) Stamp {
	return Stamp{Size: st.Size, Mtime: st.Mtim.Nano(), Ino: st.Ino}
}

// errChanged says that a file is not what it was when it was listed.
var errChanged = errors.New("it was changed while it was read")

// Hash reads a file into hashes and makes sure that it is the one that has the stamp,
// before and after.
func (f *Files) Hash(ctx context.Context, name string, want Stamp, hashes ...hash.Hash) error {
	r, err := f.Open(name)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := checkStamp(r, want); err != nil {
		return &fs.PathError{Op: "read", Path: name, Err: err}
	}
	n, err := f.feed(ctx, r, want.Size, hashes)
	if err == nil && n != want.Size {
		err = &fs.PathError{Op: "read", Path: name, Err: errChanged}
	}
	if err != nil {
		return err
	}
	if err := checkStamp(r, want); err != nil {
		return &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return nil
}

func checkStamp(f *os.File, want Stamp) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("not a regular file")
	}
	if StampOf(&st) != want {
		return errChanged
	}
	return nil
}

const (
	chunkSize = 256 << 10
	// A file from this size on has its hashes computed side by side.
	parallelSize = 8 << 20
)

// A chunk is a piece of a file on its way through the hashes.
type chunk struct {
	data [chunkSize]byte
	n    int
	uses atomic.Int32 // hashes that still have to read it
}

// chunk returns one that may have been used before.
func (f *Files) chunk() *chunk {
	if c, ok := f.chunks.Get().(*chunk); ok {
		return c
	}
	return new(chunk)
}

// feed reads r to its end into all hashes and returns its length.
func (f *Files) feed(ctx context.Context, r io.Reader, size int64, hashes []hash.Hash) (total int64, err error) {
	fan := f.newFan(hashes, size >= parallelSize && len(hashes) > 1)
	defer fan.close()
	for {
		if err := context.Cause(ctx); err != nil {
			return total, err
		}
		c := <-fan.free
		c.n, err = io.ReadFull(r, c.data[:])
		total += int64(c.n)
		fan.send(c)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// A fan hands chunks to hashes: each to a goroutine of its own, so that the next
// chunk is read meanwhile, or all in turn.
type fan struct {
	files  *Files // whose chunks these are
	hashes []hash.Hash
	lanes  []chan *chunk
	free   chan *chunk
	done   sync.WaitGroup
}

func (f *Files) newFan(hashes []hash.Hash, parallel bool) *fan {
	const ahead = 4
	fan := &fan{files: f, hashes: hashes, free: make(chan *chunk, ahead)}
	n := 1
	if parallel {
		n = ahead
		fan.lanes = make([]chan *chunk, len(hashes))
	}
	for range n {
		fan.free <- f.chunk()
	}
	for i := range fan.lanes {
		fan.lanes[i] = make(chan *chunk, ahead)
		fan.done.Go(func() { fan.run(hashes[i], fan.lanes[i]) })
	}
	return fan
}

func (f *fan) run(h hash.Hash, lane <-chan *chunk) {
	for c := range lane {
		h.Write(c.data[:c.n]) // never fails
		if c.uses.Add(-1) == 0 {
			f.free <- c
		}
	}
}

// send passes a filled chunk on.
func (f *fan) send(c *chunk) {
	if f.lanes == nil {
		for _, h := range f.hashes {
			h.Write(c.data[:c.n])
		}
		f.free <- c
		return
	}
	c.uses.Store(int32(len(f.lanes)))
	for _, lane := range f.lanes {
		lane <- c
	}
}

// close waits until all that was sent is hashed.
func (f *fan) close() {
	for _, lane := range f.lanes {
		close(lane)
	}
	f.done.Wait()
	close(f.free)
	for c := range f.free {
		f.files.chunks.Put(c)
	}
}
