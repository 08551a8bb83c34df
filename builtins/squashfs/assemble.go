package squashfs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// The blocks of an image: found in one made before, met already in this one, or compressed.

// An assembler writes the blocks.
type assembler struct {
	*content
	*writer
	Options
	stock *stock

	at      []place // where each block is, once it is written
	sources []source
	made    []uint32 // blocks that are to be compressed, in their order
	next    int      // the first block that is not written
	size    int64    // of blocks of made
	open    *opener
}

// A place is where a block is stored.
type place struct {
	at    int64
	word  uint32 // its length; with the bit stored
	check check
}

// A source is where a block comes from.
type source struct {
	kind  sourceKind
	found stocked // in an image made before
	block uint32  // the same one of this image
}

type sourceKind uint8

const (
	compressed sourceKind = iota
	found
	repeated
)

// assemble writes all blocks and tells files and fragments where theirs are.
func (a *assembler) assemble(ctx context.Context) error {
	a.find()
	a.open = &opener{tree: a.tree}
	defer a.open.close()
	a.at = make([]place, len(a.blocks))
	made := a.made // which grows if a copy is damaged
	lengths := make([]int, len(made))
	for n, i := range made {
		lengths[n] = int(a.blocks[i].length)
	}
	copyBefore := func(n int) error { // the block that is compressed as number n
		if n == len(made) {
			return a.copyUntil(ctx, len(a.blocks))
		}
		return a.copyUntil(ctx, int(made[n]))
	}
	feeding := &opener{tree: a.tree}
	defer feeding.close()
	copied := make(chan error, 1) // while the first blocks are compressed
	go func() { copied <- copyBefore(0) }()
	err := a.Compressor.compress(ctx, a.BlockSize, batch{
		lengths: lengths,
		raw:     func(n int, buf []byte) error { return a.raw(feeding, &a.blocks[made[n]], buf) },
		take: func(n int, data []byte) error {
			if n == 0 {
				err := <-copied
				copied <- err
				if err != nil {
					return err
				}
			}
			if err := a.store(int(made[n]), data); err != nil {
				return err
			}
			return copyBefore(n + 1)
		},
	})
	if err = cmp.Or(<-copied, err); err == nil {
		a.tellPlaces()
	}
	return err
}

// find decides where each block comes from.
func (a *assembler) find() {
	seen := make(map[key]uint32)
	a.sources = make([]source, len(a.blocks))
	for i := range a.blocks {
		b := &a.blocks[i]
		if first, ok := seen[b.key]; ok {
			a.sources[i] = source{kind: repeated, block: first}
			continue
		}
		seen[b.key] = uint32(i)
		if known, ok := a.stock.blocks[b.key]; ok {
			a.sources[i] = source{kind: found, found: known}
			known.made.used = true
			continue
		}
		a.made = append(a.made, uint32(i))
		a.size += int64(b.length)
	}
	a.content.progress.ToCompress = a.size
}

// store writes a compressed block, nil if it gets no shorter.
func (a *assembler) store(i int, data []byte) error {
	b := &a.blocks[i]
	word := uint32(len(data))
	if data == nil {
		data = a.open.buffer(int(b.length))
		if err := a.raw(a.open, b, data); err != nil {
			return err
		}
		word = b.length | stored
	}
	a.at[i] = place{a.writer.at, word, checkOf(data)}
	a.content.compressed(int64(b.length))
	_, err := a.Write(data)
	return err
}

// compressed counts what has been compressed.
func (c *content) compressed(n int64) {
	if c.tell == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress.Compressed += n
	c.tell(c.progress)
}

// copyUntil writes the blocks before one that need not be compressed.
func (a *assembler) copyUntil(ctx context.Context, end int) error {
	for ; a.next < end; a.next++ {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := a.copyBlock(ctx, a.next); err != nil {
			return err
		}
	}
	a.next = end + 1
	return nil
}

func (a *assembler) copyBlock(ctx context.Context, i int) error {
	var from place
	var data []byte
	switch s := &a.sources[i]; s.kind {
	case compressed:
		return fmt.Errorf("internal error: block %d was not compressed", i)
	case found:
		from, data = s.found.place, a.open.buffer(int(s.found.word&^stored))
		if err := s.found.made.block(from, data); err != nil {
			a.stock.damaged(err)
			return a.compressOne(ctx, i)
		}
	case repeated:
		from = a.at[s.block]
		data = a.open.buffer(int(from.word &^ stored))
		if err := a.writer.read(data, from.at); err != nil {
			return err
		}
	}
	a.at[i] = place{a.writer.at, from.word, from.check}
	_, err := a.Write(data)
	return err
}

// compressOne compresses a block whose copy turned out to be damaged.
func (a *assembler) compressOne(ctx context.Context, i int) error {
	b := &a.blocks[i]
	a.made = append(a.made, uint32(i))
	a.size += int64(b.length)
	return a.Compressor.compress(ctx, a.BlockSize, batch{
		lengths: []int{int(b.length)},
		raw:     func(_ int, buf []byte) error { return a.raw(a.open, b, buf) },
		take:    func(_ int, data []byte) error { return a.store(i, data) },
	})
}

// tellPlaces gives files and fragments their places.
func (a *assembler) tellPlaces() {
	for i := range a.blocks {
		b, at := &a.blocks[i], a.at[i]
		if b.file == nothing {
			a.frags = append(a.frags, fragment{uint64(at.at), at.word})
			continue
		}
		a.words[a.large.at(b.file).words+b.from] = at.word
	}
	first := make(map[uint32]uint64) // of the blocks of the file whose words begin there
	for i := range a.blocks {
		if b := &a.blocks[i]; b.file != nothing {
			words := a.large.at(b.file).words
			if _, ok := first[words]; !ok {
				first[words] = uint64(a.at[i].at)
			}
		}
	}
	for i := range uint32(a.large.len()) {
		f := a.large.at(i)
		f.place = first[f.words]
	}
}

// result says what the image was made of.
func (a *assembler) result(params string) *Result {
	r := &Result{New: len(a.made), NewSize: a.size, Lost: a.lost, LostCount: a.lostCount}
	for _, i := range a.made {
		name := a.latestOf(&a.blocks[i])
		if len(r.From) == maxNamed {
			break
		}
		if !slices.Contains(r.From, name) {
			r.From = append(r.From, name)
		}
	}
	r.index = index{params: params, size: a.BlockSize}
	for i := range a.blocks {
		if s := a.sources[i]; s.kind != repeated {
			r.index.records = append(r.index.records, record{key: a.blocks[i].key, place: a.at[i]})
			r.Blocks++
			r.Size += int64(a.blocks[i].length)
		}
	}
	return r
}
