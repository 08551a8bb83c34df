package squashfs

import (
	"context"
	"encoding/binary"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// Inodes and listings.

// The types of inodes. Those with what is rare are longer, and have a number of their own.
const (
	typeDir     = 1
	typeFile    = 2
	typeSymlink = 3
	typeBlock   = 4
	typeChar    = 5
	typeFifo    = 6
	typeSocket  = 7
	extended    = 7 // is added
)

func (n *node) kind() uint16 {
	switch n.mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return typeDir
	case unix.S_IFLNK:
		return typeSymlink
	case unix.S_IFBLK:
		return typeBlock
	case unix.S_IFCHR:
		return typeChar
	case unix.S_IFIFO:
		return typeFifo
	case unix.S_IFSOCK:
		return typeSocket
	}
	return typeFile
}

// inode appends what all inodes begin with.
func (m *metadata) inode(kind uint16, i uint32) {
	n := m.nodes.at(i)
	n.at = m.inodes.at()
	m.put16(kind, n.mode&^unix.S_IFMT, n.uid, n.gid)
	m.put32(n.mtime, m.number(i))
}

func (m *metadata) put16(values ...uint16) {
	for _, v := range values {
		m.inodes.raw = binary.LittleEndian.AppendUint16(m.inodes.raw, v)
	}
}

func (m *metadata) put32(values ...uint32) {
	for _, v := range values {
		m.inodes.raw = binary.LittleEndian.AppendUint32(m.inodes.raw, v)
	}
}

func (m *metadata) put64(values ...uint64) {
	for _, v := range values {
		m.inodes.raw = binary.LittleEndian.AppendUint64(m.inodes.raw, v)
	}
}

// attributesOf returns the list of a node's attributes, and whether it has any.
func (m *metadata) attributesOf(i uint32) (uint32, bool) {
	id, ok := m.attrs.of[i]
	if !ok {
		id = nothing
	}
	return id, ok
}

// names is how many a file has.
func (m *metadata) namesOf(i uint32) uint32 { return max(m.links[i], 1) }

// writeFiles writes the inodes of all but directories.
func (m *metadata) writeFiles(ctx context.Context) error {
	for _, i := range m.sorted {
		n := m.nodes.at(i)
		if n.isDir() || m.further(i) {
			continue
		}
		switch kind := n.kind(); kind {
		case typeFile:
			m.writeFile(i, n.detail)
		default:
			m.writeOther(i, kind)
		}
		if m.inodes.full() {
			if err := m.inodes.flush(ctx); err != nil {
				return err
			}
		}
	}
	return m.inodes.flush(ctx)
}

// writeFile writes the inode of a regular file.
func (m *metadata) writeFile(i, detail uint32) {
	if detail&large == 0 {
		p := m.small.at(detail)
		m.writeRegular(i, regular{size: int64(p.size), fragment: p.fragment, offset: p.offset})
		return
	}
	f := m.large.at(detail &^ large)
	r := regular{size: f.size, place: f.place, fragment: nothing}
	r.words = m.content.words[f.words:][:(f.size+int64(m.BlockSize)-1)/int64(m.BlockSize)]
	for n, w := range r.words {
		if w == 0 {
			r.holes += min(int64(m.BlockSize), f.size-int64(n)*int64(m.BlockSize))
		}
	}
	m.writeRegular(i, r)
}

// regular is what the inode of a regular file says of its content.
type regular struct {
	size, holes      int64
	place            uint64
	fragment, offset uint32
	words            []uint32
}

func (m *metadata) writeRegular(i uint32, r regular) {
	id, has := m.attributesOf(i)
	names := m.namesOf(i)
	if has || names > 1 || r.holes > 0 || r.place > math.MaxUint32 || r.size > math.MaxUint32 {
		m.inode(typeFile+extended, i)
		m.put64(r.place, uint64(r.size), uint64(r.holes))
		m.put32(names, r.fragment, r.offset, id)
	} else {
		m.inode(typeFile, i)
		m.put32(uint32(r.place), r.fragment, r.offset, uint32(r.size))
	}
	m.put32(r.words...)
}

// writeOther writes the inode of a symbolic link, a device, a FIFO or a socket.
func (m *metadata) writeOther(i uint32, kind uint16) {
	id, has := m.attributesOf(i)
	code := kind
	if has {
		code += extended
	}
	m.inode(code, i)
	m.put32(m.namesOf(i))
	switch kind {
	case typeSymlink:
		target := m.targets[i]
		m.put32(uint32(len(target)))
		m.inodes.raw = append(m.inodes.raw, target...)
	case typeBlock, typeChar:
		m.put32(m.nodes.at(i).detail)
	}
	if has {
		m.put32(id)
	}
}

// writeDirectories writes one level after the other.
func (m *metadata) writeDirectories(ctx context.Context) error {
	for _, level := range m.levels() {
		lists := make([]listing, len(level))
		for n, dir := range level {
			var err error
			if lists[n], err = m.writeListing(ctx, dir); err != nil {
				return err
			}
		}
		if err := m.listings.flush(ctx); err != nil {
			return err
		}
		for n, dir := range level {
			m.writeDirectory(dir, &lists[n])
			if m.inodes.full() {
				if err := m.inodes.flush(ctx); err != nil {
					return err
				}
			}
		}
		if err := m.inodes.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// levels are the directories by how deep they are, the deepest first.
func (m *metadata) levels() [][]uint32 {
	var levels [][]uint32
	depth := make(map[uint32]int)
	for i := range uint32(m.nodes.len()) {
		n := m.nodes.at(i)
		if !n.isDir() {
			continue
		}
		if i != 0 {
			depth[i] = depth[n.parent] + 1
		}
		if depth[i] == len(levels) {
			levels = append(levels, nil)
		}
		levels[depth[i]] = append(levels[depth[i]], i)
	}
	slices.Reverse(levels)
	return levels
}

// A listing is that of a directory in its table.
type listing struct {
	at, length uint32
	dirs       uint32
	index      []indexEntry
}

// An indexEntry leads to a part of a listing by the first name in it.
type indexEntry struct {
	offset uint32 // in the listing
	at     uint32 // in the table
	node   uint32
}

// maxIndexEntries is how many an inode counts.
const maxIndexEntries = math.MaxUint16

// writeListing writes a listing: headers, each with the entries whose inodes are in one piece.
func (m *metadata) writeListing(ctx context.Context, dir uint32) (listing, error) {
	l := listing{at: m.listings.at()}
	nodes := m.in(dir)
	for len(nodes) > 0 {
		if m.listings.full() {
			if err := m.listings.flush(ctx); err != nil {
				return l, err
			}
		}
		n := m.run(nodes)
		at := m.listings.at()
		if at != l.at && at/metadataSize != m.lastPiece(&l) && len(l.index) < maxIndexEntries {
			l.index = append(l.index, indexEntry{at - l.at, at, nodes[0]})
		}
		m.writeRun(nodes[:n])
		nodes = nodes[n:]
	}
	l.length = m.listings.at() - l.at
	for _, i := range m.in(dir) {
		if m.nodes.at(i).isDir() {
			l.dirs++
		}
	}
	return l, nil
}

// lastPiece is the piece that a listing's last index entry is in, or its begin.
func (m *metadata) lastPiece(l *listing) uint32 {
	if len(l.index) == 0 {
		return l.at / metadataSize
	}
	return l.index[len(l.index)-1].at / metadataSize
}

// first is the node that has the inode of a file.
func (m *metadata) first(i uint32) uint32 {
	if first, ok := m.same[i]; ok {
		return first
	}
	return i
}

const (
	headerSize = 12
	entrySize  = 8
	maxRun     = 256 // entries of a header
)

// run is how many nodes have one header: those whose inodes are in one piece, whose numbers
// are near, and which begin in the piece of the table that the header begins in.
func (m *metadata) run(nodes []uint32) int {
	at := m.listings.at()
	piece := at / metadataSize
	inodes := m.nodes.at(m.first(nodes[0])).at / metadataSize
	base := int64(m.number(nodes[0]))
	at += headerSize
	for n, i := range nodes {
		delta := int64(m.number(i)) - base
		if n == maxRun || n > 0 && (at/metadataSize != piece || m.nodes.at(m.first(i)).at/metadataSize != inodes ||
			delta < math.MinInt16 || delta > math.MaxInt16) {
			return n
		}
		at += entrySize + uint32(m.nodes.at(i).length)
	}
	return len(nodes)
}

func (m *metadata) writeRun(nodes []uint32) {
	out := m.listings.raw
	start, _ := m.inodes.ref(m.nodes.at(m.first(nodes[0])).at)
	base := m.number(nodes[0])
	out = binary.LittleEndian.AppendUint32(out, uint32(len(nodes)-1))
	out = binary.LittleEndian.AppendUint32(out, start)
	out = binary.LittleEndian.AppendUint32(out, base)
	for _, i := range nodes {
		n := m.nodes.at(i)
		_, offset := m.inodes.ref(m.nodes.at(m.first(i)).at)
		out = binary.LittleEndian.AppendUint16(out, offset)
		out = binary.LittleEndian.AppendUint16(out, uint16(int16(int64(m.number(i))-int64(base))))
		out = binary.LittleEndian.AppendUint16(out, n.kind())
		out = binary.LittleEndian.AppendUint16(out, n.length-1)
		out = append(out, m.name(n)...)
	}
	m.listings.raw = out
}

// notListed is added to the length of a listing: entries for "." and ".." that are in none.
const notListed = 3

// maxShort is the longest listing of an inode of the usual type.
const maxShort = math.MaxUint16 - notListed

func (m *metadata) writeDirectory(i uint32, l *listing) {
	parent := uint32(m.nodes.len()-len(m.again)) + 1 // of the root
	if i != 0 {
		parent = m.number(m.nodes.at(i).parent)
	}
	var start uint32
	var offset uint16
	if l.length > 0 {
		start, offset = m.listings.ref(l.at)
	}
	id, has := m.attributesOf(i)
	if !has && len(l.index) == 0 && l.length <= maxShort {
		m.inode(typeDir, i)
		m.put32(start, 2+l.dirs)
		m.put16(uint16(l.length+notListed), offset)
		m.put32(parent)
		return
	}
	m.inode(typeDir+extended, i)
	m.put32(2+l.dirs, l.length+notListed, start, parent)
	m.put16(uint16(len(l.index)), offset)
	m.put32(id)
	for _, e := range l.index {
		n := m.nodes.at(e.node)
		piece, _ := m.listings.ref(e.at)
		m.put32(e.offset, piece, uint32(n.length)-1)
		m.inodes.raw = append(m.inodes.raw, m.name(n)...)
	}
}
