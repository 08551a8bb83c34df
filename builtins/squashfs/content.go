package squashfs

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// What blocks the content of a tree makes, before any of them is compressed. A file of a
// block or more has blocks of its own; smaller ones are pieces of blocks that they share.

// A file is a regular file.
type file struct {
	size     int64
	place    uint64 // in the image, of its first block; of a piece: in its fragment
	node     uint32
	words    uint32 // where its words begin; of a piece while it is sought: the file equal to it + 1
	fragment uint32
}

// A key is what a block is known by: the SHA-256 of its bytes.
type key [sha256.Size]byte

// hole is the key of a block of zeros, which takes no room.
var hole key

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
	pieces []uint32   // files in the order in which fragments have them
	frags  []fragment // once they are written
	total  int64      // bytes of all files

	mu       sync.Mutex
	progress Progress
	tell     func(Progress)
}

// A fragment is a block of pieces as the image has it.
type fragment struct {
	place uint64
	word  uint32
}

// small tells a file that is a piece.
func (c *content) small(f *file) bool { return f.size < int64(c.size) }

// readContent reads all files.
func readContent(ctx context.Context, t *tree, o Options) (*content, error) {
	c := &content{tree: t, size: o.BlockSize, tell: o.Progress}
	for i := range t.files.len() {
		if f := t.files.at(uint32(i)); !t.further(f.node) {
			c.total += f.size
		}
	}
	c.progress.ToHash = c.total
	sums, err := c.sum(ctx)
	if err != nil {
		return nil, err
	}
	c.shareFiles(sums.large)
	c.sharePieces(sums.small)
	c.arrange()
	return c, c.sumFragments(ctx)
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

// pieceSum is enough of a SHA-256 to know a piece by.
type pieceSum [16]byte

// sums are the digests of files.
type sums struct {
	small []pieceSum       // by number of the file
	large map[uint32][]key // of their blocks
}

func (c *content) sum(ctx context.Context) (sums, error) {
	s := sums{small: make([]pieceSum, c.files.len()), large: make(map[uint32][]key)}
	var mu sync.Mutex
	return s, c.each(ctx, c.files.len(), func(open *opener, i uint32) error {
		f := c.files.at(i)
		if f.size == 0 || c.further(f.node) {
			return nil
		}
		if c.small(f) {
			data := open.buffer(int(f.size))
			if err := open.read(f.node, data, 0, true); err != nil {
				return err
			}
			sum := sha256.Sum256(data)
			copy(s.small[i][:], sum[:])
			c.hashed(f.size)
			return nil
		}
		keys, err := c.sumBlocks(open, f)
		mu.Lock()
		defer mu.Unlock()
		s.large[i] = keys
		return err
	})
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

// sumBlocks returns the keys of a file's blocks.
func (c *content) sumBlocks(open *opener, f *file) ([]key, error) {
	var keys []key
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
			keys = append(keys, hole)
			continue
		}
		if err := open.read(f.node, buf[:n], at, at+n == f.size); err != nil {
			return nil, err
		}
		if zero(buf[:n]) {
			keys = append(keys, hole)
		} else {
			keys = append(keys, sha256.Sum256(buf[:n]))
		}
	}
	return keys, nil
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
func (c *content) shareFiles(keys map[uint32][]key) {
	known := make(map[key]uint32)
	for i := range uint32(c.files.len()) {
		f := c.files.at(i)
		if c.small(f) || c.further(f.node) {
			continue
		}
		h := sha256.New()
		fmt.Fprintln(h, f.size)
		for _, k := range keys[i] {
			h.Write(k[:])
		}
		whole := key(h.Sum(nil))
		if other, ok := known[whole]; ok {
			f.words = c.files.at(other).words
			continue
		}
		known[whole] = i
		f.words = uint32(len(c.words))
		for n, k := range keys[i] {
			c.words = append(c.words, 0)
			if k != hole {
				length := min(int64(c.size), f.size-int64(n)*int64(c.size))
				c.blocks = append(c.blocks, block{key: k, length: uint32(length), file: i, from: uint32(n)})
			}
		}
	}
}

// sharePieces gives equal pieces the same place: all but the first are found by it.
func (c *content) sharePieces(sums []pieceSum) {
	for i := range uint32(c.files.len()) {
		if f := c.files.at(i); f.size > 0 && c.small(f) && !c.further(f.node) {
			c.pieces = append(c.pieces, i)
		}
	}
	bySum := slices.Clone(c.pieces)
	slices.SortFunc(bySum, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(c.files.at(a).size, c.files.at(b).size), slices.Compare(sums[a][:], sums[b][:]), cmp.Compare(a, b))
	})
	for n := 1; n < len(bySum); n++ {
		a, b := bySum[n-1], bySum[n]
		if c.files.at(a).size != c.files.at(b).size || sums[a] != sums[b] {
			continue
		}
		first := a + 1
		if w := c.files.at(a).words; w != 0 {
			first = w
		}
		c.files.at(b).words = first
	}
	c.pieces = slices.DeleteFunc(c.pieces, func(i uint32) bool { return c.files.at(i).words != 0 })
}

// sumFragments composes the fragments for the first time.
func (c *content) sumFragments(ctx context.Context) error {
	first, _ := slices.BinarySearchFunc(c.blocks, uint32(nothing), func(b block, n uint32) int { return cmp.Compare(b.file, n) })
	frags := c.blocks[first:]
	return c.each(ctx, len(frags), func(open *opener, i uint32) error {
		b := &frags[i]
		data := open.buffer(int(b.length))
		err := c.compose(open, b, data)
		b.key = sha256.Sum256(data)
		return err
	})
}

// compose reads the pieces of a fragment.
func (c *content) compose(open *opener, b *block, data []byte) error {
	for _, i := range c.pieces[b.from:b.to] {
		f := c.files.at(i)
		if err := open.read(f.node, data[f.place:][:f.size], 0, true); err != nil {
			return err
		}
	}
	return nil
}

// raw reads a block again, to be compressed.
func (c *content) raw(open *opener, b *block, data []byte) error {
	var err error
	if b.file == nothing {
		err = c.compose(open, b, data)
	} else {
		f := c.files.at(b.file)
		at := int64(b.from) * int64(c.size)
		err = open.read(f.node, data, at, at+int64(len(data)) == f.size)
	}
	if err == nil && sha256.Sum256(data) != b.key {
		err = fmt.Errorf("cannot pack %s: it, or a file beside it, was changed while it was read", c.latestOf(b))
	}
	return err
}

// latestOf names the file of a block that was changed last.
func (c *content) latestOf(b *block) string {
	if b.file != nothing {
		return c.path(c.files.at(b.file).node)
	}
	at := c.files.at(c.pieces[b.from]).node
	for _, i := range c.pieces[b.from:b.to] {
		if n := c.files.at(i).node; c.nodes.at(n).mtime > c.nodes.at(at).mtime {
			at = n
		}
	}
	return c.path(at)
}
