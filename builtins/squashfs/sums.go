package squashfs

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

// What was read of the files of a tree is kept beside its image, so that those that have not
// changed since are not read again to find their blocks. It is
//
//	magic, a line
//	size of a block, number of pieces, both uint32
//	pieces in the order of their inodes: inode uint64, change int64, size uint32, sum
//	other files: inode uint64, change int64, size int64, number of blocks uint32, and for each
//	block its place in the file, uint32, and its key
//	SHA-256 of all that
//
// with numbers in little endian and times in nanoseconds.

const sumsMagic = "imagebuilder squashfs sums 1\n"

// A look tells a file of a file system from every other, and from itself after a change: nobody
// can set the time of that. A file may be changed twice before the clock ticks, so one that was
// changed just now has none.
type look struct {
	inode   uint64
	changed int64
}

func lookOf(st *unix.Stat_t, now time.Time) look {
	if changed := st.Ctim.Nano(); changed < now.Add(-time.Second).UnixNano() {
		return look{st.Ino, changed}
	}
	return look{}
}

// looks are those of the first files of a tree, by their numbers.
type looks []look

// add adds the next one, and returns it.
func (l *looks) add(st *unix.Stat_t, now time.Time) look {
	next := lookOf(st, now)
	if len(*l) < maxLooks {
		*l = append(*l, next)
	}
	return next
}

// forget sees to it that a file is not remembered.
func (l looks) forget(i uint32) {
	if int(i) < len(l) {
		l[i] = look{}
	}
}

func (l looks) at(i uint32) look {
	if int(i) < len(l) {
		return l[i]
	}
	return look{}
}

// maxLooks bounds how many small files are remembered, and how many others.
const maxLooks = 100_000

// maxSums bounds what is read of the sums of a tree, in bytes.
const maxSums = 16 << 20

const pieceRecord = 8 + 8 + 4 + len(pieceSum{})

// WriteSums writes what was read of the files of the tree.
func (r *Result) WriteSums(w io.Writer) error {
	_, err := w.Write(r.sums)
	return err
}

// plain tells a file that can be remembered: one that has no extended attributes, so that these
// are not asked for again, under its first name.
func (c *content) plain(node uint32) bool {
	_, has := c.attrs.of[node]
	return !has && !c.further(node)
}

// remembered is what was read of a tree before, or now.
func (c *content) remembered(blocks [][]fileBlock) []byte {
	var pieces, others []int
	for i := range c.looks {
		if p := c.small.at(uint32(i)); c.looks[i] != (look{}) && p.size > 0 && c.plain(p.node) {
			pieces = append(pieces, i)
		}
	}
	for i := range c.largeLooks {
		if c.largeLooks[i] != (look{}) && c.plain(c.large.at(uint32(i)).node) {
			others = append(others, i)
		}
	}
	slices.SortFunc(pieces, func(a, b int) int { return cmp.Compare(c.looks[a].inode, c.looks[b].inode) })
	text := append([]byte(sumsMagic), binary.LittleEndian.AppendUint32(nil, uint32(c.size))...)
	text = binary.LittleEndian.AppendUint32(text, uint32(len(pieces)))
	for _, i := range pieces {
		text = c.looks[i].append(text)
		text = binary.LittleEndian.AppendUint32(text, c.small.at(uint32(i)).size)
		text = append(text, c.sums[i][:]...)
	}
	for _, i := range others {
		if len(text)+32+len(blocks[i])*(4+sha256.Size) > maxSums-sha256.Size {
			break
		}
		text = c.largeLooks[i].append(text)
		text = binary.LittleEndian.AppendUint64(text, uint64(c.large.at(uint32(i)).size))
		text = binary.LittleEndian.AppendUint32(text, uint32(len(blocks[i])))
		for _, b := range blocks[i] {
			text = binary.LittleEndian.AppendUint32(text, b.n)
			text = append(text, b.key[:]...)
		}
	}
	sum := sha256.Sum256(text)
	return append(text, sum[:]...)
}

func (l look) append(text []byte) []byte {
	text = binary.LittleEndian.AppendUint64(text, l.inode)
	return binary.LittleEndian.AppendUint64(text, uint64(l.changed))
}

func parseLook(text []byte) look {
	return look{binary.LittleEndian.Uint64(text), int64(binary.LittleEndian.Uint64(text[8:]))}
}

// A past is what was read of several trees before, each a memory.
type past []*memory

// recall reads it.
func recall(o Options) past {
	var p past
	for _, r := range o.Sums {
		m, err := readSums(r, o.BlockSize)
		if err != nil && o.Damaged != nil {
			o.Damaged(err)
		}
		if m != nil {
			p = append(p, m)
		}
	}
	return p
}

// piece returns the sum of a small file that was read before and has not changed since.
func (p past) piece(l look, size uint32) (sum pieceSum, ok bool) {
	for _, m := range p {
		if sum, ok = m.piece(l, size); ok && l != (look{}) {
			return sum, true
		}
	}
	return sum, false
}

// file returns the blocks of another file that was.
func (p past) file(l look, size int64) (blocks []fileBlock, ok bool) {
	for _, m := range p {
		if blocks, ok = m.file(l, size); ok && l != (look{}) {
			return blocks, true
		}
	}
	return nil, false
}

// A memory is what was read of one tree.
type memory struct {
	pieces []byte // records
	files  map[look]sized
}

// A sized file is one of a block or more.
type sized struct {
	size   int64
	blocks []fileBlock
}

var errSums = errors.New("they are damaged")

// readSums reads what was written for an image with blocks of a size; nil: they had another.
func readSums(r io.Reader, size int) (*memory, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSums))
	if err == nil {
		var m *memory
		if m, err = parseSums(data, size); err == nil {
			return m, nil
		}
	}
	return nil, fmt.Errorf("cannot use the sums of an image: %w", err)
}

func parseSums(data []byte, size int) (*memory, error) {
	if len(data) < sha256.Size {
		return nil, errSums
	}
	data, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if now := sha256.Sum256(data); string(now[:]) != string(sum) {
		return nil, errSums
	}
	rest, ok := bytes.CutPrefix(data, binary.LittleEndian.AppendUint32([]byte(sumsMagic), uint32(size)))
	if !ok {
		return nil, nil
	}
	if len(rest) < 4 {
		return nil, errSums
	}
	n := int64(binary.LittleEndian.Uint32(rest)) * int64(pieceRecord)
	if rest = rest[4:]; int64(len(rest)) < n {
		return nil, errSums
	}
	m := &memory{pieces: rest[:n], files: make(map[look]sized)}
	for rest = rest[n:]; len(rest) > 0; {
		if len(rest) < 28 {
			return nil, errSums
		}
		l, f := parseLook(rest), sized{size: int64(binary.LittleEndian.Uint64(rest[16:]))}
		n := int64(binary.LittleEndian.Uint32(rest[24:]))
		if rest = rest[28:]; int64(len(rest)) < n*(4+sha256.Size) {
			return nil, errSums
		}
		for range n {
			f.blocks = append(f.blocks, fileBlock{binary.LittleEndian.Uint32(rest), key(rest[4:])})
			rest = rest[4+sha256.Size:]
		}
		if !f.fits(size) {
			return nil, errSums
		}
		m.files[l] = f
	}
	return m, nil
}

// fits tells whether blocks of a size can be those of the file.
func (f sized) fits(size int) bool {
	next := int64(0)
	for _, b := range f.blocks {
		if int64(b.n) < next || int64(b.n)*int64(size) >= f.size {
			return false
		}
		next = int64(b.n) + 1
	}
	return true
}

// piece returns the sum of a small file.
func (m *memory) piece(l look, size uint32) (sum pieceSum, ok bool) {
	record := func(i int) []byte { return m.pieces[i*pieceRecord:][:pieceRecord] }
	n := len(m.pieces) / pieceRecord
	i := sort.Search(n, func(i int) bool { return parseLook(record(i)).inode >= l.inode })
	for ; i < n && parseLook(record(i)).inode == l.inode; i++ {
		if r := record(i); parseLook(r) == l && binary.LittleEndian.Uint32(r[16:]) == size {
			return pieceSum(r[20:]), true
		}
	}
	return sum, false
}

// file returns the blocks of a file of a block or more.
func (m *memory) file(l look, size int64) ([]fileBlock, bool) {
	f, ok := m.files[l]
	return f.blocks, ok && f.size == size
}
