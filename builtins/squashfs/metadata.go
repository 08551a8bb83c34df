package squashfs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"slices"
	"sort"

	"golang.org/x/sys/unix"
)

// The tables behind the blocks: inodes and listings of directories first. A listing refers to
// inodes and the inode of a directory to its listing, so files come first, and then one level
// of directories after the other, the deepest first: all before them is compressed by then.

// metadata writes the tables of an image.
type metadata struct {
	*tree
	content *content
	writer  *writer
	Options
	stock *stock
	index *index // gets the blocks of metadata

	inodes, listings *table
	sorted           []uint32 // nodes by their directories
}

func (m *metadata) table(out io.Writer) *table {
	return &table{out: out, c: m.Compressor, stock: m.stock, starts: []uint32{0}}
}

// kept is what was written, in pieces that are never copied.
type kept [][]byte

func (k *kept) Write(p []byte) (int, error) {
	*k = append(*k, bytes.Clone(p))
	return len(p), nil
}

var errTooMuch = errors.New("cannot pack: squashfs holds no more names than 4 GiB of metadata")

// write writes the tables and returns the superblock.
func (m *metadata) write(ctx context.Context) ([]byte, error) {
	m.sorted = m.sortByParent()
	inodesAt := m.writer.at
	var listings kept
	m.inodes, m.listings = m.table(m.writer), m.table(&listings)
	if err := m.writeFiles(ctx); err != nil {
		return nil, err
	}
	m.small = chunked[piece]{} // which take much memory
	if err := m.writeDirectories(ctx); err != nil {
		return nil, err
	}
	if err := errors.Join(m.inodes.end(ctx), m.listings.end(ctx)); err != nil {
		return nil, err
	}
	m.inodes.list(m.index, inodesAt)
	listingsAt := m.writer.at
	m.listings.list(m.index, listingsAt)
	for _, p := range listings {
		m.writer.Write(p)
	}

	count := uint32(m.nodes.len() - len(m.again))
	super := binary.LittleEndian.AppendUint32(nil, 0x73717368)
	super = binary.LittleEndian.AppendUint32(super, count)
	super = binary.LittleEndian.AppendUint32(super, m.dated())
	super = binary.LittleEndian.AppendUint32(super, uint32(m.BlockSize))
	super = binary.LittleEndian.AppendUint32(super, uint32(len(m.content.frags)))
	super = binary.LittleEndian.AppendUint16(super, m.Compressor.id())
	super = binary.LittleEndian.AppendUint16(super, uint16(bits.TrailingZeros(uint(m.BlockSize))))
	super = binary.LittleEndian.AppendUint16(super, m.flags())
	super = binary.LittleEndian.AppendUint16(super, uint16(len(m.owners)))
	super = binary.LittleEndian.AppendUint32(super, 4) // version 4.0
	super = binary.LittleEndian.AppendUint64(super, m.inodes.longRef(m.nodes.at(0).at))

	fragments, err := m.writeList(ctx, m.fragmentEntries())
	if err != nil {
		return nil, err
	}
	exports := uint64(nowhere)
	if m.Export {
		if exports, err = m.writeList(ctx, m.exportEntries()); err != nil {
			return nil, err
		}
	}
	var ids []byte
	for _, id := range m.owners {
		ids = binary.LittleEndian.AppendUint32(ids, id)
	}
	owners, err := m.writeList(ctx, ids)
	if err != nil {
		return nil, err
	}
	attributes, err := m.attributes(ctx)
	if err != nil {
		return nil, err
	}
	super = binary.LittleEndian.AppendUint64(super, uint64(m.writer.at))
	for _, at := range []uint64{owners, attributes, uint64(inodesAt), uint64(listingsAt), fragments, exports} {
		super = binary.LittleEndian.AppendUint64(super, at)
	}
	return super, nil
}

// dated is the time of making.
func (m *metadata) dated() uint32 {
	if m.Epoch != nil {
		return clamp(*m.Epoch, nil)
	}
	return m.latest
}

// flags inform; readers go by the blocks.
func (m *metadata) flags() uint16 {
	flags := uint16(0x40) // duplicates are removed
	if _, ok := m.Compressor.(none); ok {
		flags |= 0x1 | 0x2 | 0x8 | 0x100 | 0x800 // nothing is compressed
	}
	if m.Export {
		flags |= 0x80
	}
	if len(m.attrs.lists) == 0 {
		flags |= 0x200
	}
	if m.Compressor.options() != nil {
		flags |= 0x400
	}
	return flags
}

func (m *metadata) fragmentEntries() []byte {
	var text []byte
	for _, f := range m.content.frags {
		text = binary.LittleEndian.AppendUint64(text, f.place)
		text = binary.LittleEndian.AppendUint32(text, f.word)
		text = binary.LittleEndian.AppendUint32(text, 0)
	}
	return text
}

func (m *metadata) exportEntries() []byte {
	var text []byte
	for i := range uint32(m.nodes.len()) {
		if !m.further(i) {
			text = binary.LittleEndian.AppendUint64(text, m.inodes.longRef(m.nodes.at(i).at))
		}
	}
	return text
}

// writeList writes entries as metadata, and after them the list of where those are, whose place
// it returns.
func (m *metadata) writeList(ctx context.Context, entries []byte) (uint64, error) {
	places, err := m.pieces(ctx, entries)
	at := m.writer.at
	m.writer.Write(places)
	return uint64(at), err
}

// pieces writes metadata and returns the places of its pieces.
func (m *metadata) pieces(ctx context.Context, text []byte) ([]byte, error) {
	at := m.writer.at
	t := m.table(m.writer)
	t.raw = text
	err := t.end(ctx)
	t.list(m.index, at)
	var places []byte
	for _, start := range t.starts[:len(t.starts)-1] {
		places = binary.LittleEndian.AppendUint64(places, uint64(at)+uint64(start))
	}
	return places, err
}

// attributes writes the tables of extended attributes and returns where they are.
func (m *metadata) attributes(ctx context.Context) (uint64, error) {
	if len(m.attrs.lists) == 0 {
		return nowhere, nil
	}
	listsAt := m.writer.at
	lists := m.table(m.writer)
	for _, l := range m.attrs.lists {
		lists.raw = append(lists.raw, l.text...)
		if lists.full() {
			if err := lists.flush(ctx); err != nil {
				return 0, err
			}
		}
	}
	if err := lists.end(ctx); err != nil {
		return 0, err
	}
	lists.list(m.index, listsAt)
	var ids []byte
	for _, l := range m.attrs.lists {
		ids = binary.LittleEndian.AppendUint64(ids, lists.longRef(uint32(l.at)))
		ids = binary.LittleEndian.AppendUint32(ids, l.count)
		ids = binary.LittleEndian.AppendUint32(ids, l.size)
	}
	places, err := m.pieces(ctx, ids)
	at := m.writer.at
	m.writer.Write(binary.LittleEndian.AppendUint64(nil, uint64(listsAt)))
	m.writer.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(m.attrs.lists))))
	m.writer.Write(make([]byte, 4))
	m.writer.Write(places)
	return uint64(at), err
}

// number is that of a node's inode: files under several names have one.
func (m *metadata) number(i uint32) uint32 {
	if first, ok := m.same[i]; ok {
		i = first
	}
	return i + 1 - uint32(sort.Search(len(m.again), func(n int) bool { return m.again[n] > i }))
}

// sortByParent returns the nodes by the directories that they are in, and gives each of those
// the place of its first.
func (t *tree) sortByParent() []uint32 {
	nodes := make([]uint32, 0, t.nodes.len())
	for i := uint32(1); i < uint32(t.nodes.len()); i++ {
		nodes = append(nodes, i)
	}
	slices.SortStableFunc(nodes, func(a, b uint32) int { return cmp.Compare(t.nodes.at(a).parent, t.nodes.at(b).parent) })
	for n := len(nodes) - 1; n >= 0; n-- {
		t.nodes.at(t.nodes.at(nodes[n]).parent).detail = uint32(n)
	}
	return nodes
}

// in returns the nodes in a directory.
func (m *metadata) in(dir uint32) []uint32 {
	rest := m.sorted[min(int(m.nodes.at(dir).detail), len(m.sorted)):]
	n := 0
	for n < len(rest) && m.nodes.at(rest[n]).parent == dir {
		n++
	}
	return rest[:n]
}

func (n *node) isDir() bool { return n.mode&unix.S_IFMT == unix.S_IFDIR }
