// Package squashfs writes images in the format squashfs 4.0, which Linux mounts: see
// https://www.kernel.org/doc/html/latest/filesystems/squashfs.html and, for the layout,
// https://dr-emann.github.io/squashfs/. It never compresses a block that it finds in an image
// made before, and arranges files so that most are found after a change.
//
// It knows nothing of distributions, of root file systems or of where images are kept. It
// reads no image but the blocks that an index, written with the image, leads to.
package squashfs

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"os"

	"imagebuilder/builtins/dirfd"
)

// The bounds of the format.
const (
	superblockSize = 96
	metadataSize   = 8192    // of a block of metadata
	maxNameLength  = 256     // in bytes
	maxOwners      = 65535   // users and groups together
	padding        = 4096    // devices are read in such pieces
	minBlock       = 4 << 10 // bytes of a block
	maxBlock       = 1 << 20
	nowhere        = 1<<64 - 1 // the place of a table that there is not
	nothing        = 1<<32 - 1 // the number of a fragment or of attributes that there are not
	stored         = 1 << 24   // bit of a block's length: it is not compressed
	maxBlocks      = 1 << 24   // of a file: 16 TiB in blocks of 1 MiB
)

// DefaultBlock is the usual size of a block in bytes: the largest there is.
const DefaultBlock = maxBlock

// GCPercent is for [debug.SetGCPercent] in a process that does nothing but write an image:
// nearly all its memory is the list of files, which stays to the end and is not to be had
// twice.
const GCPercent = 15

// Options say how an image is written.
type Options struct {
	Compressor Compressor
	BlockSize  int     // bytes, a power of two from 4 KiB to 1 MiB; 0: DefaultBlock
	Epoch      *int64  // seconds: no time in the image is later; nil: the times are those of the files
	Export     bool    // with a table for NFS servers
	Known      []*Made // images with blocks that need not be compressed again, the best first

	// Sums are what was read for images made before, as [Result.WriteSums] has written it: files
	// that have not changed since are not read again.
	Sums []io.Reader

	// Progress is told how far it is, by one goroutine at a time; nil: nobody.
	Progress func(Progress)
	// Damaged is told why a block of an image made before cannot be used; nil: nobody.
	Damaged func(error)
}

// Progress is how much of the work is done, in bytes of content.
type Progress struct {
	Hashed, ToHash         int64
	Compressed, ToCompress int64 // what is in no image made before
}

// A Result says what an image was made of.
type Result struct {
	Blocks    int      // of content, equal ones once
	New       int      // of these, compressed for this image
	Size      int64    // bytes in blocks
	NewSize   int64    // of these, in new ones
	From      []string // files in the first new blocks, the latest of each
	Lost      []string // the first files that had attributes which the format cannot hold
	LostCount int      // all of these
	index     index
	sums      []byte
}

// Write writes an image of a directory into an empty file that can be read as well. Names and
// content are read twice, so nothing may change meanwhile: if it does that is an error. The
// image depends on nothing but the tree, the options and the version of a compressor; without
// an epoch it is dated by its latest file.
func Write(ctx context.Context, out *os.File, root *dirfd.Dir, o Options) (*Result, error) {
	if o.BlockSize == 0 {
		o.BlockSize = DefaultBlock
	}
	if o.BlockSize < minBlock || o.BlockSize > maxBlock || bits.OnesCount(uint(o.BlockSize)) != 1 {
		return nil, fmt.Errorf("a block of squashfs is a power of two from %d to %d bytes, not %d", minBlock, maxBlock, o.BlockSize)
	}
	params, err := o.Compressor.params(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot ask the compressor for its version: %w", err)
	}
	t, err := readTree(ctx, root, o)
	if err != nil {
		return nil, err
	}
	c, err := readContent(ctx, t, o)
	if err != nil {
		return nil, err
	}
	w := &writer{out: out, at: superblockSize}
	if text := o.Compressor.options(); text != nil {
		w.Write(binary.LittleEndian.AppendUint16(nil, uint16(len(text))|uncompressed))
		w.Write(text)
	}
	s := newStock(o, params)
	a := assembler{content: c, writer: w, Options: o, stock: s}
	if err := a.assemble(ctx); err != nil {
		return nil, err
	}
	result := a.result(params)
	result.sums = c.seen
	c.pieces, c.sums, c.before = nil, nil, nil // which take much memory
	m := &metadata{tree: t, content: c, writer: w, Options: o, stock: s, index: &result.index}
	super, err := m.write(ctx)
	if err != nil {
		return nil, err
	}
	return result, w.finish(super)
}

// A writer is the image as it grows.
type writer struct {
	out *os.File
	at  int64 // where the next byte goes
	buf []byte
	err error
}

// flushAt is how much is written at once.
const flushAt = 1 << 20

// Write remembers an error until finish.
func (w *writer) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	w.at += int64(len(p))
	if len(w.buf) >= flushAt {
		w.flush()
	}
	return len(p), w.err
}

func (w *writer) flush() {
	if w.err == nil {
		_, w.err = w.out.WriteAt(w.buf, w.at-int64(len(w.buf)))
	}
	w.buf = w.buf[:0]
}

// read reads what has been written.
func (w *writer) read(p []byte, at int64) error {
	w.flush()
	if w.err != nil {
		return w.err
	}
	_, err := w.out.ReadAt(p, at)
	return err
}

// finish writes the superblock and fills the last piece of the image.
func (w *writer) finish(super []byte) error {
	w.Write(make([]byte, (padding-w.at%padding)%padding))
	w.flush()
	if w.err == nil {
		_, w.err = w.out.WriteAt(super, 0)
	}
	return w.err
}

var _ io.Writer = (*writer)(nil)
