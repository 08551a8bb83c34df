package streams

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
	"path"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// metaClasses are the metadata tarballs in the order of file.joint.
var metaClasses = [2]class{metaLXD, metaIncus}

// needsHash tells whether a file of the version has to be read.
func (v *version) needsHash() bool {
	for i := range v.files {
		if v.files[i].class.isItem() && !v.done(&v.files[i]) {
			return true
		}
	}
	return false
}

// done tells whether all hashes of an item are known.
func (v *version) done(f *file) bool {
	return f.hashed && (!f.class.isRootfs() || f.joint != nil)
}

// hashVersion computes what is missing of a version's hashes. Each file is read
// once: what is read of a root file system feeds its own hash and, from the state
// that each metadata tarball left behind, its joint ones. It returns the number of
// bytes read. The first file that cannot be read ends it.
func hashVersion(ctx context.Context, s *site, dir string, v *version) (read int64, err error) {
	return hashFiles(ctx, s, dir, v, func(_ *file, err error) error { return err })
}

// hashFiles is hashVersion, except that failed decides what a file that cannot be read
// means: if it returns no error, the file stays without hashes and the rest is read.
func hashFiles(ctx context.Context, s *site, dir string, v *version, failed func(*file, error) error) (read int64, err error) {
	if !v.needsHash() {
		return 0, nil
	}
	var heads [len(metaClasses)]hash.Hash
	for i, c := range metaClasses {
		f := v.first(c)
		if f == nil {
			continue
		}
		head := sha256.New()
		if err := hashFile(ctx, s, path.Join(dir, f.name), f, head); err != nil {
			if err := failed(f, err); err != nil {
				return read, err
			}
			continue
		}
		read += f.stamp.size
		f.sum, f.hashed, heads[i] = sumOf(head), true, head
	}
	for i := range v.files {
		f := &v.files[i]
		if !f.class.isItem() || v.done(f) || f.class.isMeta() && f == v.first(f.class) {
			continue
		}
		if err := hashItem(ctx, s, path.Join(dir, f.name), f, heads); err != nil {
			if err := failed(f, err); err != nil {
				return read, err
			}
			continue
		}
		read += f.stamp.size
	}
	return read, nil
}

// hashItem computes the hashes of one file, given the states after the metadata.
func hashItem(ctx context.Context, s *site, name string, f *file, heads [2]hash.Hash) error {
	own := sha256.New()
	hashes := []hash.Hash{own}
	var joint [len(heads)]hash.Hash
	for i, head := range heads {
		switch {
		case !f.class.isRootfs() || head == nil:
		case i > 0 && heads[0] != nil && sumOf(heads[0]) == sumOf(head):
			joint[i] = joint[0] // the tarballs are equal, and so is what follows from them
		default:
			joint[i] = clone(head)
			hashes = append(hashes, joint[i])
		}
	}
	if err := hashFile(ctx, s, name, f, hashes...); err != nil {
		return err
	}
	f.sum, f.hashed = sumOf(own), true
	if f.class.isRootfs() {
		f.joint = new([2]digest)
		for i, h := range joint {
			if h != nil {
				f.joint[i] = sumOf(h)
			}
		}
	}
	return nil
}

func clone(h hash.Hash) hash.Hash {
	c, err := h.(hash.Cloner).Clone()
	if err != nil {
		panic("internal error: " + err.Error()) // sha256 states can always be copied
	}
	return c
}

func sumOf(h hash.Hash) digest { return digest(h.Sum(nil)) }

// errChanged says that a file is not what it was when it was listed.
var errChanged = errors.New("it was changed while it was read")

// hashFile reads a file into hashes and makes sure that it is the one f describes,
// before and after.
func hashFile(ctx context.Context, s *site, name string, f *file, hashes ...hash.Hash) error {
	r, err := s.open(name)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := checkStamp(r, f.stamp); err != nil {
		return pathError("read", name, err)
	}
	n, err := feed(ctx, r, f.stamp.size, hashes)
	if err != nil {
		return err
	}
	if n != f.stamp.size {
		return pathError("read", name, errChanged)
	}
	return pathError("read", name, checkStamp(r, f.stamp))
}

func checkStamp(f *os.File, want stamp) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("not a regular file")
	}
	if got := stampOf(&st); got != want {
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

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// feed reads r to its end into all hashes and returns its length.
func feed(ctx context.Context, r io.Reader, size int64, hashes []hash.Hash) (total int64, err error) {
	f := newFan(hashes, size >= parallelSize && len(hashes) > 1)
	defer f.close()
	for {
		if err := context.Cause(ctx); err != nil {
			return total, err
		}
		c := f.next()
		c.n, err = io.ReadFull(r, c.data[:])
		total += int64(c.n)
		f.send(c)
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
	hashes []hash.Hash
	lanes  []chan *chunk
	free   chan *chunk
	done   sync.WaitGroup
}

func newFan(hashes []hash.Hash, parallel bool) *fan {
	const ahead = 4
	f := &fan{hashes: hashes, free: make(chan *chunk, ahead)}
	n := 1
	if parallel {
		n = ahead
		f.lanes = make([]chan *chunk, len(hashes))
	}
	for range n {
		f.free <- chunks.Get().(*chunk)
	}
	for i := range f.lanes {
		f.lanes[i] = make(chan *chunk, ahead)
		f.done.Go(func() { f.run(hashes[i], f.lanes[i]) })
	}
	return f
}

func (f *fan) run(h hash.Hash, lane <-chan *chunk) {
	for c := range lane {
		h.Write(c.data[:c.n]) // never fails
		if c.uses.Add(-1) == 0 {
			f.free <- c
		}
	}
}

// next returns a chunk to fill.
func (f *fan) next() *chunk { return <-f.free }

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
		chunks.Put(c)
	}
}
