package windows

import (
	"context"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Large files are not written by genisoimage, which would copy each block by block to another
// place, but put behind all else on a medium on which it has written one block in place of each.
// What tells of such a file is changed then: a file entry of UDF, directory records of ISO 9660.
// The rest is as genisoimage has it, with one partition of UDF in sectors of 2048 bytes, at the
// end of which are anchors, and padding between them. Numbers in comments are sections of ECMA-167
// (UDF) and ECMA-119 (ISO 9660).

// A scion is a file that is put onto a medium.
type scion struct {
	Path string // on the medium, where there is a file of one block
	File *os.File
	Size int64
}

// padding is how many sectors genisoimage puts behind the files, as drives read ahead. The first
// and the last of them are anchors.
const padding = 151

// maxExtent is how long one part of a file can be in UDF (4/14.14.1.1), in whole sectors.
const maxExtent = 1<<30 - sector

// graft puts files onto a medium; copied is told how much was, part by part.
func graft(ctx context.Context, f *os.File, scions []scion, copied func(int64)) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	g := &grafting{f: f, v: &Volume{r: f, size: st.Size(), left: maxEntries}}
	if err := g.look(); err != nil {
		return err
	}
	end := g.v.size - padding*sector
	if err := f.Truncate(end); err != nil { // what is not written from here on is zeros
		return err
	}
	for _, s := range scions {
		at := end
		err := copyRange(ctx, f, end, s.File, 0, s.Size, func(n int64) {
			unix.SyncFileRange(int(f.Fd()), at, n, unix.SYNC_FILE_RANGE_WRITE) // as early as can be, or later
			at += n
			copied(n)
		})
		if err != nil {
			return err
		}
		if err := g.place(s, end); err != nil {
			return err
		}
		end += (s.Size + sector - 1) / sector * sector
	}
	return g.finish(end)
}

// A grafting is a medium while files are put onto it.
type grafting struct {
	f       *os.File
	v       *Volume
	anchor  []byte            // of UDF
	start   int64             // of its partition
	records map[int64][]int64 // where directory records of ISO 9660 are, by where their files begin
}

// look reads what is on the medium.
func (g *grafting) look() error {
	volumes, err := g.v.isoVolumes()
	if err != nil {
		return err
	}
	g.records = make(map[int64][]int64)
	for _, volume := range volumes {
		g.v.left = maxEntries
		root, err := g.v.isoTree(volume)
		if err != nil {
			return err
		}
		root.walk(func(n *node) {
			if !n.dir && n.size == sector {
				g.records[n.extents[0].start] = append(g.records[n.extents[0].start], n.entry)
			}
		})
	}
	g.v.left = maxEntries
	if err := g.v.readUDF(); err != nil {
		return err
	}
	g.anchor = make([]byte, sector)
	if err := g.v.read(g.anchor, g.v.size-sector); err != nil {
		return err
	}
	if !checkTag(g.anchor, tagAnchor) {
		return damaged("its UDF has no anchor at its end")
	}
	return g.descriptors(func(b []byte) bool {
		if checkTag(b, tagPartition) {
			g.start = int64(le.Uint32(b[188:])) * sector
		}
		return false
	})
}

// descriptors hands on what is in the two volume descriptor sequences (3/8.4.2), to be written
// if it has changed.
func (g *grafting) descriptors(do func(b []byte) (changed bool)) error {
	b := make([]byte, sector)
	for _, sequence := range []int{16, 24} {
		at, count := int64(le.Uint32(g.anchor[sequence+4:])), int64(le.Uint32(g.anchor[sequence:]))/sector
		for n := at; n < at+count; n++ {
			if err := g.v.read(b, n*sector); err != nil {
				return err
			}
			if !do(b) {
				continue
			}
			if err := g.write(b, n*sector); err != nil {
				return err
			}
		}
	}
	return nil
}

// write writes a descriptor of UDF with the sums of what is in it.
func (g *grafting) write(b []byte, at int64) error {
	seal(b)
	_, err := g.f.WriteAt(b, at)
	return err
}

// seal gives a descriptor its sums (3/7.2).
func seal(b []byte) {
	le.PutUint16(b[8:], crc(b[16:16+int(le.Uint16(b[10:]))]))
	b[4] = 0
	var sum byte
	for _, c := range b[:16] {
		sum += c
	}
	b[4] = sum
}

// crc is the sum of 3/7.2.6: CRC-16 of ITU-T V.41.
func crc(b []byte) (sum uint16) {
	for _, c := range b {
		sum ^= uint16(c) << 8
		for range 8 {
			if sum&0x8000 != 0 {
				sum = sum<<1 ^ 0x1021
			} else {
				sum <<= 1
			}
		}
	}
	return sum
}

// place says of a file that it is at an offset.
func (g *grafting) place(s scion, at int64) error {
	n, err := g.v.find("place", s.Path)
	if err != nil {
		return err
	}
	if n.dir || n.size != sector || len(n.extents) != 1 {
		return &fs.PathError{Op: "place", Path: s.Path, Err: fs.ErrInvalid}
	}
	for _, r := range g.records[n.extents[0].start] {
		// What is longer than a record can say has its size modulo 4 GiB there, as by
		// genisoimage: such media are read by UDF.
		record := make([]byte, 16)
		bothEndian(record, uint32(at/sector))
		bothEndian(record[8:], uint32(s.Size))
		if _, err := g.f.WriteAt(record, r+2); err != nil {
			return err
		}
	}
	b := make([]byte, sector)
	if err := g.v.read(b, n.entry); err != nil {
		return err
	}
	// A file entry (4/14.9) with short allocation descriptors.
	start, length := 176+int(le.Uint32(b[168:])), 0
	for from := int64(0); from < s.Size; from += maxExtent {
		d := start + length
		if length += 8; d+8 > sector {
			return damaged("%s is too long for its file entry", s.Path)
		}
		le.PutUint32(b[d:], uint32(min(s.Size-from, maxExtent)))
		le.PutUint32(b[d+4:], uint32((at+from-g.start)/sector))
	}
	le.PutUint64(b[56:], uint64(s.Size))
	le.PutUint64(b[64:], uint64((s.Size+sector-1)/sector))
	le.PutUint32(b[172:], uint32(length))
	le.PutUint16(b[10:], uint16(start+length-16))
	return g.write(b, n.entry)
}

// bothEndian is a number in both orders (7.3.3).
func bothEndian(b []byte, n uint32) {
	le.PutUint32(b, n)
	be := []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	copy(b[4:], be)
}

// finish says how long the medium is, whose files end at an offset.
func (g *grafting) finish(end int64) error {
	grown := uint32((end + padding*sector - g.v.size) / sector)
	var integrity int64
	err := g.descriptors(func(b []byte) bool {
		switch {
		case checkTag(b, tagLogical):
			integrity = int64(le.Uint32(b[436:])) * sector
		case checkTag(b, tagPartition):
			le.PutUint32(b[192:], le.Uint32(b[192:])+grown)
			return true
		}
		return false
	})
	if err != nil {
		return err
	}
	b := make([]byte, sector)
	if err := g.v.read(b, integrity); err != nil {
		return err
	}
	if !checkTag(b, tagIntegrity) || le.Uint32(b[72:]) != 1 {
		return damaged("its UDF does not tell how long its partition is")
	}
	le.PutUint32(b[84:], le.Uint32(b[84:])+grown) // behind what is free of it (3/10.10)
	if err := g.write(b, integrity); err != nil {
		return err
	}
	volumes, err := g.v.isoVolumes()
	if err != nil {
		return err
	}
	for _, volume := range volumes {
		size := volume.b[80:88]
		bothEndian(size, le.Uint32(size)+grown)
		if _, err := g.f.WriteAt(size, volume.at+80); err != nil {
			return err
		}
	}
	for _, at := range []int64{end, end + (padding-1)*sector} {
		le.PutUint32(g.anchor[12:], uint32(at/sector))
		if err := g.write(g.anchor, at); err != nil {
			return err
		}
	}
	return nil
}

// walk visits all that is below a directory.
func (n *node) walk(visit func(*node)) {
	for _, child := range n.children {
		visit(child)
		child.walk(visit)
	}
}
