package squashfs_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// A reader of images that believes nothing: whatever the format says of an image is checked.
// It is as strict as our writer can be, so images of mksquashfs do not pass: every byte of the
// image has to be of use, once, and every short form has to be used where it can be.
// The layout is that of https://dr-emann.github.io/squashfs/.

// read reads an image and checks all of it. What is not as the format has it is an error.
func read(file string) (*image, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return parse(data)
}

func parse(data []byte) (m *image, err error) {
	defer func() {
		if r := recover(); r != nil {
			w, ok := r.(wrong)
			if !ok {
				panic(r)
			}
			err = w
		}
	}()
	m = &image{data: data, inodes: make(map[uint32]*inode)}
	m.readSuper()
	m.readTables()
	m.readInodes()
	m.readListings()
	m.readTree()
	m.readContent()
	m.checkUse()
	return m, nil
}

// wrong is what an image has wrong.
type wrong struct{ error }

// must ends reading unless something is so.
func must(ok bool, format string, args ...any) {
	if !ok {
		panic(wrong{fmt.Errorf(format, args...)})
	}
}

// A superblock as it is in the file.
type superblock struct {
	Magic, Inodes, Time, Block, Fragments          uint32
	Compressor, Log, Flags, IDs, Major, Minor      uint16
	Root, Used                                     uint64
	IDTable, AttrTable, InodeTable, DirectoryTable uint64
	FragmentTable, ExportTable                     uint64
}

const superSize = 96

const none32, none64 = 1<<32 - 1, 1<<64 - 1

// An extent is a part of the image, or of something in it.
type extent struct{ from, to uint64 }

// A fragmentEntry is one of the table.
type fragmentEntry struct {
	Place      uint64
	Word, Zero uint32
}

// An inode is one with all that is told of it.
type inode struct {
	at                   uint32 // in the table
	kind, mode, uid, gid uint16
	time, number         uint32
	links, parent        uint32
	listing              uint32 // of a directory: its place, as a reference
	listingOffset        uint16
	length               uint32 // of the listing
	index                []index
	size, place, holes   uint64
	fragment, offset     uint32
	words                []uint32
	target               string
	device               uint32
	attrs                uint32
	entries              []entry
	names                uint32 // under how many it was met
	dirs                 uint32
	sum                  string
	firstName            string
}

type index struct {
	offset, block uint32
	name          string
}

type entry struct {
	name string
	node *inode
}

// A metadataTable is one that is cut into pieces.
type metadataTable struct {
	raw    []byte
	starts map[uint32]uint32 // where a piece begins among the compressed: where in raw
	pieces []uint32          // the former in order
}

// at is where in raw a reference leads.
func (t *metadataTable) at(start uint32, offset uint16) uint32 {
	raw, ok := t.starts[start]
	must(ok, "no piece of metadata begins at %d", start)
	must(offset < 8192 && int(raw)+int(offset) < len(t.raw), "a reference to %d of the piece at %d leads out of the table", offset, start)
	return raw + uint32(offset)
}

// ref is at for a reference as most have it.
func (t *metadataTable) ref(ref uint64) uint32 {
	must(ref>>48 == 0, "a reference %#x", ref)
	return t.at(uint32(ref>>16), uint16(ref))
}

// image is what was read.
type image struct {
	data []byte
	superblock
	inodeTable, directoryTable, attrTable metadataTable
	fragments                             []fragmentEntry
	ids                                   []uint32
	exports                               []byte
	attrs                                 []map[string]string // by list
	inodes                                map[uint32]*inode   // by place in the table
	order                                 []*inode
	root                                  *inode
	paths                                 []path // in the order of a walk
	dataAt                                uint64
	used                                  map[extent]bool     // of the data area
	pieces                                map[uint32][]extent // of fragments
	raw                                   map[extent][]byte   // the fragment read last
	zeros                                 []byte              // a block of them
	usedIDs                               map[uint16]bool
	usedAttrs                             map[uint32]bool
}

type path struct {
	name string
	node *inode
}

func (m *image) readSuper() {
	must(len(m.data) >= superSize, "it is too short")
	_, err := binary.Decode(m.data, binary.LittleEndian, &m.superblock)
	must(err == nil, "%v", err)
	must(m.Magic == 0x73717368 && m.Major == 4 && m.Minor == 0, "it is no squashfs 4.0")
	must(m.Block >= 4096 && m.Block <= 1<<20 && m.Block == 1<<m.Log, "blocks of %d, log %d", m.Block, m.Log)
	must(slices.Contains([]uint16{1, 4, 5, 6}, m.Compressor), "compressor %d", m.Compressor)
	must(m.Used <= uint64(len(m.data)) && len(m.data)%4096 == 0 && uint64(len(m.data))-m.Used < 4096, "%d bytes used of %d", m.Used, len(m.data))
	for _, b := range m.data[m.Used:] {
		must(b == 0, "what fills the image up is not zero")
	}
	must(m.Flags&0x400 != 0 == (m.Compressor == 5), "compressor %d, flags %#x", m.Compressor, m.Flags)
	must(m.Flags&0x80 != 0 == (m.ExportTable != none64), "an export table at %#x, flags %#x", m.ExportTable, m.Flags)
	must(m.Flags&0x200 != 0 == (m.AttrTable == none64), "attributes at %#x, flags %#x", m.AttrTable, m.Flags)
	must(m.Flags&^uint16(0x1|0x2|0x8|0x40|0x80|0x100|0x200|0x400|0x800) == 0, "flags %#x", m.Flags)
	m.dataAt = superSize
	if m.Flags&0x400 != 0 {
		must(string(m.data[superSize:superSize+10]) == "\x08\x80\x01\x00\x00\x00\x00\x00\x00\x00", "options %x", m.data[superSize:superSize+10])
		m.dataAt += 10
	}
}

// readTables reads all tables, which fill the image behind the data without a gap.
func (m *image) readTables() {
	at := m.InodeTable
	must(m.dataAt <= at, "the inodes begin in the data")
	m.inodeTable, at = m.metadata(at, m.DirectoryTable)
	list := func(name string, place uint64, count, size int) []byte {
		pieces := (count*size + 8191) / 8192
		must(place <= m.Used && uint64(8*pieces) <= m.Used-place, "the %s end outside of the image", name)
		var t metadataTable
		begin := at
		t, at = m.metadata(at, place)
		must(len(t.raw) == count*size && len(t.pieces) == pieces, "%d bytes of %s, not %d of %d", len(t.raw), name, count, size)
		for _, start := range t.pieces {
			must(binary.LittleEndian.Uint64(m.data[at:]) == begin+uint64(start), "a piece of the %s is not where it is said to be", name)
			at += 8
		}
		return t.raw
	}
	first := func(place uint64, count int) uint64 { // where the pieces of a list begin
		must(place <= m.Used, "a table begins outside of the image")
		if count == 0 {
			return place
		}
		must(place+8 <= m.Used, "a table ends outside of the image")
		return binary.LittleEndian.Uint64(m.data[place:])
	}
	m.directoryTable, at = m.metadata(at, first(m.FragmentTable, int(m.Fragments)))
	text := list("fragments", m.FragmentTable, int(m.Fragments), 16)
	m.fragments = make([]fragmentEntry, m.Fragments)
	_, err := binary.Decode(text, binary.LittleEndian, m.fragments)
	must(err == nil, "%v", err)
	if m.ExportTable != none64 {
		m.exports = list("exports", m.ExportTable, int(m.Inodes), 8)
	}
	text = list("owners", m.IDTable, int(m.IDs), 4)
	m.ids = make([]uint32, m.IDs)
	_, err = binary.Decode(text, binary.LittleEndian, m.ids)
	must(err == nil, "%v", err)
	sorted := slices.Compact(slices.Sorted(slices.Values(m.ids)))
	must(len(sorted) == len(m.ids), "an owner is in the list twice")
	if m.AttrTable != none64 {
		must(m.AttrTable+16 <= m.Used, "the attributes end outside of the image")
		lists, count := binary.LittleEndian.Uint64(m.data[m.AttrTable:]), binary.LittleEndian.Uint32(m.data[m.AttrTable+8:])
		must(lists == at, "attributes begin at %d, not %d", lists, at)
		must(count > 0 && binary.LittleEndian.Uint32(m.data[m.AttrTable+12:]) == 0, "an empty table of attributes, or one with more in it")
		ids := m.AttrTable + 16
		m.attrTable, at = m.metadata(at, first(ids, int(count)))
		idsAt := at
		var t metadataTable
		t, at = m.metadata(at, m.AttrTable)
		must(len(t.raw) == 16*int(count), "%d bytes of lists of attributes, not %d", len(t.raw), 16*count)
		at += 16
		for _, start := range t.pieces {
			must(binary.LittleEndian.Uint64(m.data[at:]) == idsAt+uint64(start), "a list of attributes is not where it is said to be")
			at += 8
		}
		m.readAttributes(t.raw)
	}
	must(at == m.Used, "the tables end at %d, and %d bytes are used", at, m.Used)
}

// metadata reads the pieces from one place to another.
func (m *image) metadata(from, to uint64) (t metadataTable, end uint64) {
	t.starts = make(map[uint32]uint32)
	must(from <= to && to <= m.Used, "a table from %d to %d", from, to)
	for at := from; at < to; {
		must(at+2 <= to, "a piece of metadata ends outside of its table")
		must(len(t.raw)%8192 == 0, "a piece of metadata in front of the last is short")
		word := binary.LittleEndian.Uint16(m.data[at:])
		n := uint64(word &^ 0x8000)
		must(n > 0 && n <= 8192 && at+2+n <= to, "a piece of metadata of %d bytes", n)
		t.starts[uint32(at-from)] = uint32(len(t.raw))
		t.pieces = append(t.pieces, uint32(at-from))
		text := m.data[at+2 : at+2+n]
		if word&0x8000 == 0 {
			raw := m.unpack(text, 8192)
			must(len(raw) > len(text), "a piece of metadata got no shorter")
			text = raw
		}
		t.raw = append(t.raw, text...)
		at += 2 + n
	}
	return t, to
}

// unpack unpacks a block.
func (m *image) unpack(data []byte, most int) []byte {
	var out []byte
	var err error
	all := func(r io.Reader, err error) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return io.ReadAll(io.LimitReader(r, int64(most)+1))
	}
	switch m.Compressor {
	case 1:
		r, e := zlib.NewReader(bytes.NewReader(data))
		out, err = all(r, e)
	case 4:
		must(len(data) > 12 && string(data[6:8]) == "\x00\x01", "the check of a stream is none that the kernel knows")
		r, e := xz.ReaderConfig{SingleStream: true}.NewReader(bytes.NewReader(data))
		out, err = all(r, e)
	case 5:
		out = make([]byte, most)
		n, e := lz4.UncompressBlock(data, out)
		out, err = out[:max(n, 0)], e
	case 6:
		out, err = zstdReader.DecodeAll(data, nil)
	}
	must(err == nil, "cannot unpack a block: %v", err)
	must(len(out) > 0 && len(out) <= most, "a block has %d bytes, more than %d", len(out), most)
	return out
}

var zstdReader, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<20))

// fields reads what is in a row.
type fields struct {
	data []byte
	at   uint32
}

func (f *fields) bytes(n int) []byte {
	must(n >= 0 && int(f.at)+n <= len(f.data), "a table ends too early")
	f.at += uint32(n)
	return f.data[int(f.at)-n : f.at]
}
func (f *fields) u16() uint16 { return binary.LittleEndian.Uint16(f.bytes(2)) }
func (f *fields) u32() uint32 { return binary.LittleEndian.Uint32(f.bytes(4)) }
func (f *fields) u64() uint64 { return binary.LittleEndian.Uint64(f.bytes(8)) }

// readAttributes reads the lists, which fill their table.
func (m *image) readAttributes(ids []byte) {
	prefixes := []string{"user.", "trusted.", "security."}
	f := &fields{data: m.attrTable.raw}
	seen := make(map[string]bool)
	for i := &(fields{data: ids}); int(i.at) < len(ids); {
		ref, count, size := i.u64(), i.u32(), i.u32()
		at := m.attrTable.ref(ref)
		must(at == f.at, "a list of attributes begins at %d, and the one before ends at %d", at, f.at)
		list := make(map[string]string)
		for range count {
			kind := f.u16()
			must(kind < 3, "attributes of kind %d", kind)
			name := prefixes[kind] + string(f.bytes(int(f.u16())))
			value := string(f.bytes(int(f.u32())))
			_, twice := list[name]
			must(!twice, "the attribute %s is there twice", name)
			list[name] = value
			size -= uint32(len(name) + 1 + len(value))
		}
		must(size == 0 && count > 0, "attributes of another size than is said")
		text := string(f.data[at:f.at])
		must(!seen[text], "a list of attributes is there twice")
		seen[text] = true
		m.attrs = append(m.attrs, list)
	}
	must(int(f.at) == len(f.data), "attributes that are in no list")
}

// readInodes reads the inodes, which fill their table.
func (m *image) readInodes() {
	m.usedIDs, m.usedAttrs = make(map[uint16]bool), make(map[uint32]bool)
	numbers := make([]bool, m.Inodes+1)
	f := &fields{data: m.inodeTable.raw}
	for int(f.at) < len(f.data) {
		n := m.readInode(f)
		must(n.number > 0 && n.number <= m.Inodes && !numbers[n.number], "an inode with the number %d of %d", n.number, m.Inodes)
		numbers[n.number] = true
		must(n.mode&^0o7777 == 0, "a mode of %#o", n.mode)
		must(n.uid < m.IDs && n.gid < m.IDs, "an owner that is not in the list")
		m.usedIDs[n.uid], m.usedIDs[n.gid] = true, true
		if n.attrs != none32 {
			must(int(n.attrs) < len(m.attrs), "attributes %d of %d", n.attrs, len(m.attrs))
			m.usedAttrs[n.attrs] = true
		}
		m.inodes[n.at] = n
		m.order = append(m.order, n)
	}
	must(len(m.order) == int(m.Inodes), "%d inodes, not %d", len(m.order), m.Inodes)
	must(len(m.usedIDs) == int(m.IDs), "an owner of nothing")
	must(len(m.usedAttrs) == len(m.attrs), "attributes of nothing")
}

func (m *image) readInode(f *fields) *inode {
	n := &inode{at: f.at, attrs: none32, fragment: none32, links: 1}
	n.kind, n.mode, n.uid, n.gid, n.time, n.number = f.u16(), f.u16(), f.u16(), f.u16(), f.u32(), f.u32()
	kind := n.kind
	long := kind > 7
	if long {
		n.kind -= 7
	}
	switch kind {
	case 1:
		n.listing, n.links, n.length, n.listingOffset, n.parent = f.u32(), f.u32(), uint32(f.u16()), f.u16(), f.u32()
	case 8:
		n.links, n.length, n.listing, n.parent = f.u32(), f.u32(), f.u32(), f.u32()
		count := f.u16()
		n.listingOffset, n.attrs = f.u16(), f.u32()
		for range count {
			e := index{offset: f.u32(), block: f.u32()}
			e.name = string(f.bytes(int(f.u32()) + 1))
			n.index = append(n.index, e)
		}
		must(count > 0 || n.attrs != none32 || n.length > 65535, "a directory with a long inode for nothing")
	case 2:
		n.place, n.fragment, n.offset, n.size = uint64(f.u32()), f.u32(), f.u32(), uint64(f.u32())
	case 9:
		n.place, n.size, n.holes = f.u64(), f.u64(), f.u64()
		n.links, n.fragment, n.offset, n.attrs = f.u32(), f.u32(), f.u32(), f.u32()
		must(n.links > 1 || n.attrs != none32 || n.holes > 0 || n.place > none32 || n.size > none32, "a file with a long inode for nothing")
	case 3, 10:
		n.links = f.u32()
		n.target = string(f.bytes(int(f.u32())))
		must(n.target != "", "a link to nothing")
	case 4, 5, 11, 12:
		n.links, n.device = f.u32(), f.u32()
	case 6, 7, 13, 14:
		n.links = f.u32()
	default:
		must(false, "an inode of type %d", kind)
	}
	if n.kind == 1 {
		must(n.length >= 3, "a listing of %d bytes", n.length)
		n.length -= 3
	}
	if n.kind == 2 {
		count := n.size / uint64(m.Block)
		if n.fragment == none32 && n.size%uint64(m.Block) != 0 {
			count++
		}
		must(count*4 <= uint64(len(f.data)), "a file of %d blocks", count)
		n.words = make([]uint32, count)
		for i := range n.words {
			n.words[i] = f.u32()
		}
	}
	if long && n.kind > 2 {
		n.attrs = f.u32()
		must(n.attrs != none32, "a long inode for nothing")
	}
	return n
}

// readListings reads the listings, which fill their table.
func (m *image) readListings() {
	var all []extent
	for _, dir := range m.order {
		if dir.kind != 1 {
			continue
		}
		if dir.length == 0 {
			must(dir.listing == 0 && dir.listingOffset == 0 && len(dir.index) == 0, "an empty directory with a listing")
			continue
		}
		at := m.directoryTable.at(dir.listing, dir.listingOffset)
		must(uint64(at)+uint64(dir.length) <= uint64(len(m.directoryTable.raw)), "a listing ends outside of its table")
		all = append(all, extent{uint64(at), uint64(at) + uint64(dir.length)})
		m.readListing(dir, at)
	}
	fill("listings", all, 0, uint64(len(m.directoryTable.raw)))
}

func (m *image) readListing(dir *inode, begin uint32) {
	f := &fields{data: m.directoryTable.raw[:begin+dir.length], at: begin}
	piece := begin / 8192
	indexed := dir.index
	for int(f.at) < len(f.data) {
		head := f.at
		count, start, base := f.u32()+1, f.u32(), f.u32()
		must(count <= 256, "a header of %d names", count)
		for i := range count {
			must(i == 0 || f.at/8192 == head/8192, "a name begins in another piece than its header")
			offset, delta, kind := f.u16(), int16(f.u16()), f.u16()
			name := string(f.bytes(int(f.u16()) + 1))
			node := m.inodes[m.inodeTable.at(start, offset)]
			must(node != nil, "%q leads to no inode", name)
			must(int64(node.number) == int64(base)+int64(delta), "%q has the number %d, and %d in its directory", name, node.number, int64(base)+int64(delta))
			must(node.kind == kind, "%q is of type %d, and %d in its directory", name, node.kind, kind)
			must(len(name) <= 256 && name != "." && name != ".." && !bytes.ContainsAny([]byte(name), "/\x00"), "a file is called %q", name)
			if n := len(dir.entries); n > 0 {
				must(dir.entries[n-1].name < name, "%q stands before %q", dir.entries[n-1].name, name)
			}
			dir.entries = append(dir.entries, entry{name, node})
			if i == 0 && head/8192 != piece {
				piece = head / 8192
				must(len(indexed) > 0, "the index leaves out the piece that begins with %q", name)
				e := indexed[0]
				indexed = indexed[1:]
				must(e.name == name && e.offset == head-begin && m.directoryTable.starts[e.block] == head/8192*8192, "the index has %+v for %q at %d", e, name, head-begin)
			}
		}
	}
	must(len(indexed) == 0, "the index has more than there is")
}

// readTree goes down from the root, and meets every inode as often as it has links.
func (m *image) readTree() {
	at := m.inodeTable.ref(m.Root)
	m.root = m.inodes[at]
	must(m.root != nil && m.root.kind == 1, "the root is no directory")
	must(m.root.parent == m.Inodes+1, "the parent of the root is %d of %d", m.root.parent, m.Inodes)
	m.visit("", m.root)
	for _, n := range m.order {
		if n.kind == 1 {
			must(n.names == 1 && n.links == 2+n.dirs, "%s has %d names, %d directories and %d links", n.firstName, n.names, n.dirs, n.links)
		} else {
			must(n.names == n.links, "%s has %d names and %d links", n.firstName, n.names, n.links)
		}
	}
	if m.exports != nil {
		for _, n := range m.order {
			ref := binary.LittleEndian.Uint64(m.exports[8*(n.number-1):])
			must(m.inodeTable.ref(ref) == n.at, "the export of inode %d leads elsewhere", n.number)
		}
	}
}

func (m *image) visit(name string, n *inode) {
	m.paths = append(m.paths, path{name, n})
	if n.names++; n.names == 1 {
		n.firstName = name
	}
	must(n.kind != 1 || n.names == 1, "%s is a directory that is met twice", name)
	for _, e := range n.entries {
		if e.node.kind == 1 {
			must(e.node.parent == n.number, "the parent of %s/%s is %d, not %d", name, e.name, e.node.parent, n.number)
			n.dirs++
		}
		m.visit(name+"/"+e.name, e.node)
	}
}

// readContent reads the files, and what they say of their blocks.
func (m *image) readContent() {
	m.used, m.pieces = make(map[extent]bool), make(map[uint32][]extent)
	var files []*inode
	for _, n := range m.order {
		if n.kind == 2 {
			files = append(files, n)
		}
	}
	slices.SortStableFunc(files, func(a, b *inode) int { return cmp.Compare(a.fragment, b.fragment) })
	for _, n := range files {
		m.readFile(n)
	}
}

// maxHashed is up to which size the content of a file is hashed, which has holes.
const maxHashed = 1 << 30

func (m *image) readFile(n *inode) {
	sum := sha256.New()
	if m.zeros == nil {
		m.zeros = make([]byte, m.Block)
	}
	var holes uint64
	at := n.place
	for i, word := range n.words {
		want := min(uint64(m.Block), n.size-uint64(i)*uint64(m.Block))
		if word == 0 {
			holes += want
			if n.size <= maxHashed {
				sum.Write(m.zeros[:want])
			}
			continue
		}
		data := m.block(n.firstName, at, word)
		must(uint64(len(data)) == want, "%s: block %d has %d bytes, not %d", n.firstName, i, len(data), want)
		must(!bytes.Equal(data, m.zeros[:want]), "%s: block %d is a hole that is stored", n.firstName, i)
		sum.Write(data)
		at += uint64(word &^ (1 << 24))
	}
	must(at != n.place || at == 0, "%s has no blocks, but a place for them", n.firstName)
	must(holes == n.holes, "%s has holes of %d bytes, not %d", n.firstName, holes, n.holes)
	if n.fragment != none32 {
		must(n.fragment < m.Fragments, "%s is in fragment %d of %d", n.firstName, n.fragment, m.Fragments)
		data := m.readFragment(n.fragment)
		rest := n.size - uint64(len(n.words))*uint64(m.Block)
		must(uint64(n.offset)+rest <= uint64(len(data)), "%s ends outside of its fragment", n.firstName)
		m.pieces[n.fragment] = append(m.pieces[n.fragment], extent{uint64(n.offset), uint64(n.offset) + rest})
		sum.Write(data[n.offset:][:rest])
	} else {
		must(n.offset == 0, "%s is in no fragment, but has a place there", n.firstName)
	}
	n.sum = hex.EncodeToString(sum.Sum(nil))[:12]
}

// block reads a block of the data area.
func (m *image) block(name string, at uint64, word uint32) []byte {
	must(word&^(1<<24-1|1<<24) == 0, "%s: a block of length %#x", name, word)
	n := uint64(word &^ (1 << 24))
	must(n > 0 && n <= uint64(m.Block) && at >= m.dataAt && at+n <= m.InodeTable, "%s: a block of %d bytes at %d", name, n, at)
	m.used[extent{at, at + n}] = true
	data := m.data[at : at+n]
	if word&(1<<24) != 0 {
		return data
	}
	raw := m.unpack(data, int(m.Block))
	must(len(raw) > len(data), "%s: a block got no shorter", name)
	return raw
}

// fragment reads a fragment; the last is kept.
func (m *image) readFragment(i uint32) []byte {
	e := m.fragments[i]
	must(e.Zero == 0, "fragment %d has more than a place", i)
	key := extent{e.Place, e.Place + uint64(e.Word)}
	if data, ok := m.raw[key]; ok {
		return data
	}
	data := m.block(fmt.Sprintf("fragment %d", i), e.Place, e.Word)
	m.raw = map[extent][]byte{key: data}
	return data
}

// checkUse checks that every byte of data is of use.
func (m *image) checkUse() {
	var all []extent
	for e := range m.used {
		all = append(all, e)
	}
	fill("data", all, m.dataAt, m.InodeTable)
	must(len(m.pieces) == int(m.Fragments), "%d fragments are used, of %d", len(m.pieces), m.Fragments)
	for i, pieces := range m.pieces {
		slices.SortFunc(pieces, func(a, b extent) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
		fill("fragment", slices.Compact(pieces), 0, uint64(len(m.readFragment(i))))
	}
}

// fill checks that parts follow each other.
func fill(name string, parts []extent, from, to uint64) {
	slices.SortFunc(parts, func(a, b extent) int { return cmp.Compare(a.from, b.from) })
	for _, p := range parts {
		must(p.from == from, "%s: a part begins at %d, where the one before ends at %d", name, p.from, from)
		from = p.to
	}
	must(from == to, "%s: the last part ends at %d, and not at %d", name, from, to)
}

var kinds = []string{1: "dir", 2: "file", 3: "link", 4: "block", 5: "char", 6: "fifo", 7: "sock"}

// dump is what dump gives for the directory that was packed.
func (m *image) dump() string {
	var tree, rest strings.Builder
	seen := make(map[*inode]string)
	for _, p := range m.paths {
		n := p.node
		fmt.Fprintf(&rest, "%s %d %d\n", cmp.Or(strings.TrimPrefix(p.name, "/"), "."), n.time, n.links)
		name := cmp.Or(p.name, "/")
		if first, ok := seen[n]; ok {
			fmt.Fprintln(&tree, name, "hard", first)
			continue
		}
		if n.kind != 1 && n.links > 1 {
			seen[n] = name
		}
		fmt.Fprintf(&tree, "%s %s %04o %d:%d", name, kinds[n.kind], n.mode, m.ids[n.uid], m.ids[n.gid])
		switch n.kind {
		case 2:
			fmt.Fprintf(&tree, " %d %s", n.size, n.sum)
		case 3:
			tree.WriteString(" " + n.target)
		case 4, 5:
			fmt.Fprintf(&tree, " %d:%d", n.device>>8&0xfff, n.device&0xff|n.device>>12&^uint32(0xff))
		}
		if n.attrs != none32 {
			list := m.attrs[n.attrs]
			for _, name := range slices.Sorted(maps.Keys(list)) {
				fmt.Fprintf(&tree, " %s=%x", name, list[name])
			}
		}
		tree.WriteByte('\n')
	}
	return tree.String() + rest.String()
}
