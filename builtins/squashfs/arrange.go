package squashfs

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"
)

// How pieces are put into fragments. What one file more or less moves has to be compressed
// again, so the places of cuts depend on names and rough sizes alone, never on neighbours:
// on both sides of a change they are the same.
//
// Files of one package have the day of its release in every distribution, so the day stands
// for the package. They lie together, which also compresses best. What was measured is in
// the benchmark testdata/bench/squashfs.

// day is the group of a file.
func (c *content) day(i uint32) uint32 { return c.nodes.at(c.small.at(i).node).mtime / (24 * 60 * 60) }

// arrange puts pieces in their order and cuts them into fragments.
func (c *content) arrange() {
	slices.SortFunc(c.pieces, func(a, b uint32) int { return cmp.Or(cmp.Compare(c.day(a), c.day(b)), cmp.Compare(a, b)) })
	f := &fragments{content: c}
	for from := 0; from < len(c.pieces); {
		day, to, size := c.day(c.pieces[from]), from, int64(0)
		for ; to < len(c.pieces) && c.day(c.pieces[to]) == day; to++ {
			size += int64(c.small.at(c.pieces[to]).size)
		}
		if c.cut(strconv.FormatUint(uint64(day), 10), size) {
			f.end()
		}
		for ; from < to; from++ {
			f.add(c.pieces[from], size > int64(c.size))
		}
	}
	f.end()
	for i := range uint32(c.small.len()) {
		if p := c.small.at(i); p.fragment == equal {
			first := c.small.at(p.offset)
			p.fragment, p.offset = first.fragment, first.offset
		}
	}
}

// fragments are cut as pieces come.
type fragments struct {
	*content
	from, to uint32 // of the pieces that are in none yet
	size     uint32
	n        uint32
}

// add adds the next piece. Where its group is larger than a block there are cuts inside.
func (f *fragments) add(i uint32, inside bool) {
	p := f.small.at(i)
	if f.size+p.size > uint32(f.content.size) || inside && f.cut(f.path(p.node), int64(p.size)) {
		f.end()
	}
	p.fragment, p.offset = f.n, f.size
	f.size += p.size
	f.to++
}

// end makes a fragment of the pieces so far.
func (f *fragments) end() {
	if f.from == f.to {
		return
	}
	f.blocks = append(f.blocks, block{key: f.fragmentKey(f.pieces[f.from:f.to]), length: f.size, file: nothing, from: f.from, to: f.to})
	f.from, f.size = f.to, 0
	f.n++
}

// cut decides by a name whether a fragment ends before what has it. What is larger is cut at
// more often; on average a fragment is as long as a block, and 0.72 of that as it is full.
func (c *content) cut(name string, size int64) bool {
	const most = 1 << 32
	block := uint64(c.size)
	chance := most * 72 / 100 * min(ceilPower(uint64(size)), 2*block) / block
	return hash64(name)>>32 < chance
}

// ceilPower is the next power of two.
func ceilPower(n uint64) uint64 {
	if n <= 1 {
		return n
	}
	return 1 << bits.Len64(n-1)
}

// hash64 is FNV-1a, and the end of MurmurHash3, without which similar names have similar
// values.
func hash64(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
