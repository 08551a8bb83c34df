package squashfs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// What blocks the content of a tree makes, before any of them is compressed. A file of a
// block or more has blocks of its own; smaller ones are pieces of blocks that they share.

// A file is a regular file of a block or more.
type file struct {
	size  int64
	place uint64 // in the image, of its first block
	node  uint32
	words uint32 // where its words begin
}

// A piece is a smaller one. One that equals another has the number of that as its offset, and
// no fragment of its own, until all have their places.
type piece struct {
	size, node       uint32
	fragment, offset uint32
}

// equal is the fragment of a piece that equals another.
const equal = nothing - 1

// A key is what a block is known by: the SHA-256 of its bytes, and of a fragment that of the
// sums of its pieces, for which they are read once.
type key [sha256.Size]byte

// A fileBlock is a block of a file. Those of zeros are left out: they take no room, here as in
// the image.
type fileBlock struct {
	n uint32 // its place in the file
	key
}

// A block is one to be stored.
type block struct {
	key      key
	length   uint32
	file     uint32 // that it is of; nothing: it is a fragment
	from, to uint32 // of a fragment: its pieces; of a file: from is its place in that
}

// content is what a tree holds.
type content struct {
	*tree
	size   int        // of a block
	blocks []block    // in the order of the image: those of files, then fragments
	words  []uint32   // for each block of a file its length as stored
	pieces []uint32   // small files in the order in which fragments have them
	sums   []pieceSum // of all small files
	frags  []fragment // once they are written
	total  int64      // bytes of all files

	seen []byte // what is to be remembered of it

	mu       sync.Mutex
	progress Progress
	tell     func(Progress)
}

// A fragment is a block of pieces as the image has it.
type fragment struct {
	place uint64
	word  uint32
}

// readContent reads all files.
func readContent(ctx context.Context, t *tree, o Options) (*content, error) {
	c := &content{tree: t, size: o.BlockSize, tell: o.Progress}
	for i := range uint32(t.small.len()) {
		if p := t.small.at(i); !t.further(p.node) {
			c.total += int64(p.size)
		}
	}
	for i := range uint32(t.large.len()) {
		if f := t.large.at(i); !t.further(f.node) {
			c.total += f.size
		}
	}
	c.progress.ToHash = c.total
	if err := c.readPieces(ctx); err != nil {
		return nil, err
	}
	if err := c.readFiles(ctx); err != nil {
		return nil, err
	}
	c.arrange()
	return c, nil
}

// further tells a further name of a file.
func (t *tree) further(i uint32) bool {
	_, is := t.same[i]
	return is
}

// each calls do for all numbers below n, by several goroutines, each with an opener of its own.
func (c *content) each(ctx context.Context, n int, do func(open *opener, i uint32) error) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			open := &opener{tree: c.tree}
			defer open.close()
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				if err := do(open, uint32(i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// A pieceSum is enough of a SHA-256 to know a piece by.
type pieceSum [16]byte

func sumOf(data []byte) pieceSum {
	sum := sha256.Sum256(data)
	return pieceSum(sum[:])
}

// readPieces reads the small files, and finds those that are equal.
func (c *content) readPieces(ctx context.Context) error {
	c.sums = make([]pieceSum, c.small.len())
	err := c.each(ctx, c.small.len(), func(open *opener, i uint32) error {
		p := c.small.at(i)
		if p.size == 0 || c.further(p.node) {
			return nil
		}
		c.hashed(int64(p.size))
		var ok bool
		if c.sums[i], ok = c.before.piece(c.looks.at(i), p.size); ok {
			return nil
		}
		data := open.buffer(int(p.size))
		err := open.read(p.node, data, 0, true)
		c.sums[i] = sumOf(data)
		return err
	})
	if err == nil {
		c.sharePieces()
	}
	return err
}

// readFiles reads the others.
func (c *content) readFiles(ctx context.Context) error {
	blocks := make([][]fileBlock, c.large.len())
	err := c.each(ctx, c.large.len(), func(open *opener, i uint32) (err error) {
		f := c.large.at(i)
		if c.further(f.node) {
			return nil
		}
		var ok bool
		if blocks[i], ok = c.before.file(c.largeLooks.at(i), f.size); ok {
			c.hashed(f.size)
			return nil
		}
		blocks[i], err = c.sumBlocks(open, f)
		return err
	})
	if err == nil {
		c.seen = c.remembered(blocks)
		c.shareFiles(blocks)
	}
	return err
}

// hashed counts what has been read for the first time.
func (c *content) hashed(n int64) {
	if c.tell == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress.Hashed += n
	c.tell(c.progress)
}

// sumBlocks returns the blocks of a file.
func (c *content) sumBlocks(open *opener, f *file) ([]fileBlock, error) {
	var blocks []fileBlock
	buf := open.buffer(c.size)
	var data int64 // where the next data begin: what is before is a hole
	for at := int64(0); at < f.size; at += int64(c.size) {
		n := min(int64(c.size), f.size-at)
		c.hashed(n)
		if data <= at {
			var err error
			if data, err = open.nextData(f.node, at, f.size); err != nil {
				return nil, err
			}
		}
		if data >= at+n {
			continue
		}
		if err := open.read(f.node, buf[:n], at, at+n == f.size); err != nil {
			return nil, err
		}
		if !zero(buf[:n]) {
			blocks = append(blocks, fileBlock{uint32(at / int64(c.size)), sha256.Sum256(buf[:n])})
		}
	}
	return blocks, nil
}

// zero tells bytes that are all zero.
func zero(p []byte) bool {
	for len(p) >= len(zeros) {
		if string(p[:len(zeros)]) != zeros {
			return false
		}
		p = p[len(zeros):]
	}
	return string(p) == zeros[:len(p)]
}

var zeros = string(make([]byte, 4096))

// shareFiles gives equal files of a block or more the same blocks.
func (c *content) shareFiles(blocks [][]fileBlock) {
	known := make(map[key]uint32)
	for i := range uint32(c.large.len()) {
		f := c.large.at(i)
		if c.further(f.node) {
			continue
		}
		h := sha256.New()
		fmt.Fprintln(h, f.size)
		for _, b := range blocks[i] {
			fmt.Fprintln(h, b.n)
			h.Write(b.key[:])
		}
		whole := key(h.Sum(nil))
		if other, ok := known[whole]; ok {
			f.words = c.large.at(other).words
			continue
		}
		known[whole] = i
		f.words = uint32(len(c.words))
		c.words = append(c.words, make([]uint32, (f.size+int64(c.size)-1)/int64(c.size))...)
		for _, b := range blocks[i] {
			length := min(int64(c.size), f.size-int64(b.n)*int64(c.size))
			c.blocks = append(c.blocks, block{key: b.key, length: uint32(length), file: i, from: b.n})
		}
	}
}

// sharePieces gives equal pieces the same place: all but the first are found by it.
func (c *content) sharePieces() {
	c.pieces = make([]uint32, 0, c.small.len())
	for i := range uint32(c.small.len()) {
		if p := c.small.at(i); p.size > 0 && !c.further(p.node) {
			c.pieces = append(c.pieces, i)
		}
	}
	slices.SortFunc(c.pieces, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(c.small.at(a).size, c.small.at(b).size), slices.Compare(c.sums[a][:], c.sums[b][:]), cmp.Compare(a, b))
	})
	var first uint32
	for n, i := range c.pieces {
		p := c.small.at(i)
		if n > 0 && p.size == c.small.at(first).size && c.sums[i] == c.sums[first] {
			p.fragment, p.offset = equal, first
		} else {
			first = i
		}
	}
	c.pieces = slices.DeleteFunc(c.pieces, func(i uint32) bool { return c.small.at(i).fragment == equal })
}

// fragmentKey is the key of the fragment of some pieces.
func (c *content) fragmentKey(pieces []uint32) key {
	h := sha256.New()
	h.Write([]byte("fragment\n"))
	var text []byte
	for _, i := range pieces {
		text = binary.LittleEndian.AppendUint32(text[:0], c.small.at(i).size)
		h.Write(append(text, c.sums[i][:]...))
	}
	return key(h.Sum(nil))
}

// raw reads a block again, to be compressed.
func (c *content) raw(open *opener, b *block, data []byte) error {
	if b.file == nothing {
		return c.compose(open, b, data)
	}
	f := c.large.at(b.file)
	at := int64(b.from) * int64(c.size)
	err := open.read(f.node, data, at, at+int64(len(data)) == f.size)
	if err == nil && sha256.Sum256(data) != b.key {
		err = c.changed(f.node)
	}
	return err
}

// compose reads the pieces of a fragment again.
func (c *content) compose(open *opener, b *block, data []byte) error {
	for _, i := range c.pieces[b.from:b.to] {
		p := c.small.at(i)
		piece := data[p.offset:][:p.size]
		if err := open.read(p.node, piece, 0, true); err != nil {
			return err
		}
		if sumOf(piece) != c.sums[i] {
			return c.changed(p.node)
		}
	}
	return nil
}

func (c *content) changed(node uint32) error {
	return fmt.Errorf("cannot pack %s: %w", c.path(node), ErrChanged)
}

// latestOf names the file of a block that was changed last.
func (c *content) latestOf(b *block) string {
	if b.file != nothing {
		return c.path(c.large.at(b.file).node)
	}
	at := c.small.at(c.pieces[b.from]).node
	for _, i := range c.pieces[b.from:b.to] {
		if n := c.small.at(i).node; c.nodes.at(n).mtime > c.nodes.at(at).mtime {
			at = n
		}
	}
	return c.path(at)
}
