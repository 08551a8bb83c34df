package squashfs

import (
	"context"
	"encoding/binary"
	"io"
	"math"
)

// A table is metadata: bytes that are cut every 8192 bytes, each piece compressed on its own.
// What has a place in it is referred to by the place of the piece, once all before that are
// compressed, and the one in the piece.
type table struct {
	out    io.Writer // gets the pieces
	c      Compressor
	raw    []byte   // that is not compressed
	done   uint32   // bytes that are
	starts []uint32 // where each piece begins in the output, the first that is not compressed included
}

func newTable(c Compressor, out io.Writer) *table { return &table{out: out, c: c, starts: []uint32{0}} }

// uncompressed is the bit of a piece's length: it is stored as it is.
const uncompressed = 0x8000

// at is where the next byte goes.
func (t *table) at() uint32 { return t.done + uint32(len(t.raw)) }

// ref refers to a place that is in a piece that is compressed, or in the one after these.
func (t *table) ref(at uint32) (start uint32, offset uint16) {
	return t.starts[at/metadataSize], uint16(at % metadataSize)
}

// longRef is a reference as the superblock and some tables have it.
func (t *table) longRef(at uint32) uint64 {
	start, offset := t.ref(at)
	return uint64(start)<<16 | uint64(offset)
}

// maxPending is how much metadata is kept until it is compressed.
const maxPending = 256 * metadataSize

// full tells whether there is enough to be compressed for its own sake.
func (t *table) full() bool { return len(t.raw) >= maxPending }

// flush compresses all pieces that are full.
func (t *table) flush(ctx context.Context) error {
	return t.compress(ctx, len(t.raw)/metadataSize*metadataSize)
}

// end compresses what is left.
func (t *table) end(ctx context.Context) error { return t.compress(ctx, len(t.raw)) }

func (t *table) compress(ctx context.Context, n int) error {
	if n == 0 {
		return nil
	}
	if uint64(t.done)+uint64(n) > math.MaxUint32 { // places before it would be others
		return errTooMuch
	}
	var lengths []int
	for at := 0; at < n; at += metadataSize {
		lengths = append(lengths, min(metadataSize, n-at))
	}
	piece := func(i int) []byte { return t.raw[i*metadataSize:][:lengths[i]] }
	err := t.c.compress(ctx, metadataSize, batch{
		lengths: lengths,
		raw:     func(i int, buf []byte) error { copy(buf, piece(i)); return nil },
		take: func(i int, data []byte) error {
			head := uint16(len(data))
			if data == nil {
				data = piece(i)
				head = uint16(len(data)) | uncompressed
			}
			start := t.starts[len(t.starts)-1]
			if uint64(start)+2+metadataSize > math.MaxUint32 {
				return errTooMuch
			}
			t.starts = append(t.starts, start+2+uint32(len(data)))
			if _, err := t.out.Write(binary.LittleEndian.AppendUint16(nil, head)); err != nil {
				return err
			}
			_, err := t.out.Write(data)
			return err
		},
	})
	t.done += uint32(n)
	t.raw = append(t.raw[:0], t.raw[n:]...)
	return err
}
