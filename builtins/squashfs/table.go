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
	stock  *stock
	raw    []byte   // that is not compressed
	done   uint32   // bytes that are
	starts []uint32 // where each piece begins in the output, the first that is not compressed included
	pieces []record // those before, with their places in the output
}

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
	if uint64(t.done)+uint64(len(t.raw)) > math.MaxUint32 { // places would begin anew
		return errTooMuch
	}
	b := pieces{table: t}
	for at := 0; at < n; at += metadataSize {
		b.add(t.raw[at:min(at+metadataSize, n)])
	}
	err := b.write(ctx)
	t.done += uint32(n)
	t.raw = append(t.raw[:0], t.raw[n:]...)
	return err
}

// list puts the pieces of a table that begins at a place of the image into its index.
func (t *table) list(index *index, at int64) {
	for _, p := range t.pieces {
		p.at += at
		index.records = append(index.records, p)
	}
}

// pieces are those of a table that are written next.
type pieces struct {
	*table
	all     []onePiece
	lengths []int // of those that are to be compressed
	todo    []int // their numbers
	next    int   // the first that is not written
}

// onePiece is a piece on its way.
type onePiece struct {
	key
	raw   []byte
	known []byte // as it is stored; nil: it is to be compressed
	plain bool   // known is uncompressed
}

func (b *pieces) add(raw []byte) {
	p := onePiece{key: metadataKey(raw), raw: raw}
	if p.known, p.plain = b.stock.metadata(p.key); p.known == nil {
		b.todo, b.lengths = append(b.todo, len(b.all)), append(b.lengths, len(raw))
	}
	b.all = append(b.all, p)
}

// write writes them in their order.
func (b *pieces) write(ctx context.Context) error {
	if len(b.todo) > 0 { // a program would be started for nothing
		err := b.c.compress(ctx, metadataSize, batch{
			lengths: b.lengths,
			raw:     func(i int, buf []byte) error { copy(buf, b.all[b.todo[i]].raw); return nil },
			take: func(i int, data []byte) error {
				if err := b.writeUntil(b.todo[i]); err != nil {
					return err
				}
				b.next++
				p := b.all[b.todo[i]]
				if data == nil {
					return b.put(p.key, p.raw, true)
				}
				return b.put(p.key, data, false)
			},
		})
		if err != nil {
			return err
		}
	}
	return b.writeUntil(len(b.all))
}

// writeUntil writes those before one, which are known.
func (b *pieces) writeUntil(end int) error {
	for ; b.next < end; b.next++ {
		p := b.all[b.next]
		if err := b.put(p.key, p.known, p.plain); err != nil {
			return err
		}
	}
	return nil
}

// put writes one as it is to be stored.
func (t *table) put(k key, data []byte, plain bool) error {
	start := t.starts[len(t.starts)-1]
	if uint64(start)+2+metadataSize > math.MaxUint32 {
		return errTooMuch
	}
	head, word := uint16(len(data)), uint32(len(data))
	if plain {
		head, word = head|uncompressed, word|stored
	}
	t.starts = append(t.starts, start+2+uint32(len(data)))
	t.pieces = append(t.pieces, record{k, place{int64(start) + 2, word, checkOf(data)}})
	if _, err := t.out.Write(binary.LittleEndian.AppendUint16(nil, head)); err != nil {
		return err
	}
	_, err := t.out.Write(data)
	return err
}
