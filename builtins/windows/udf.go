package windows

import (
	"strings"
	"time"
	"unicode/utf16"
)

// UDF as it is on read-only media: ECMA-167 3rd edition with OSTA UDF 1.02 to 2.01, one
// partition, no metadata partition. Numbers in comments are sections of ECMA-167.

// Identifiers of descriptors (3/7.2.1, 4/7.2.1).
const (
	tagAnchor      = 2
	tagPartition   = 5
	tagLogical     = 6
	tagTerminating = 8
	tagIntegrity   = 9
	tagFileSet     = 256
	tagFileName    = 257
	tagExtents     = 258
	tagFile        = 261
	tagLargeFile   = 266
)

// A udfReader reads the structures of UDF.
type udfReader struct {
	*Volume
	partitions map[uint16][2]int64 // by their numbers: where each begins, how long it is
	maps       []uint16            // numbers of partitions, by the references to them
}

// An icb is where a descriptor is: a block of a partition.
type icb struct {
	block     uint32
	partition uint16
}

func (v *Volume) readUDF() error {
	u := &udfReader{Volume: v, partitions: make(map[uint16][2]int64)}
	anchor, err := u.anchor()
	if err != nil {
		return err
	}
	fileSet, err := u.volume(int64(le.Uint32(anchor[20:])), int64(le.Uint32(anchor[16:]))/sector)
	if err != nil {
		return err
	}
	b, err := u.descriptor(fileSet, tagFileSet)
	if err != nil {
		return err
	}
	v.root = &node{name: ".", dir: true}
	if err := u.file(v.root, longICB(b[400:])); err != nil {
		return err
	}
	return u.directory(v.root, 0, map[icb]bool{longICB(b[400:]): true})
}

// anchor finds the anchor (3/8.4.2.1) at one of its three places.
func (u *udfReader) anchor() ([]byte, error) {
	last := u.size/sector - 1
	for _, at := range []int64{256, last, last - 256} {
		b := make([]byte, sector)
		if u.read(b, at*sector) == nil && checkTag(b, tagAnchor) {
			return b, nil
		}
	}
	return nil, damaged("its UDF has no anchor")
}

// checkTag tells whether a descriptor is there (3/7.2).
func checkTag(b []byte, id uint16) bool {
	var sum byte
	for i, c := range b[:16] {
		if i != 4 {
			sum += c
		}
	}
	return sum == b[4] && le.Uint16(b) == id
}

// volume reads the volume descriptor sequence (3/8.4.2) and returns where the file set is.
func (u *udfReader) volume(start, length int64) (fileSet icb, err error) {
	found := false
	b := make([]byte, sector)
	for n := range min(length, 1024) {
		if err := u.read(b, (start+n)*sector); err != nil {
			return fileSet, err
		}
		switch {
		case checkTag(b, tagPartition):
			u.partitions[le.Uint16(b[22:])] = [2]int64{int64(le.Uint32(b[188:])) * sector, int64(le.Uint32(b[192:])) * sector}
		case checkTag(b, tagLogical):
			if size := le.Uint32(b[212:]); size != sector {
				return fileSet, damaged("its UDF has blocks of %d bytes", size)
			}
			u.Label = dstring(b[84:212])
			fileSet, found = longICB(b[248:]), true
			if err := u.partitionMaps(b[440:], int(le.Uint32(b[268:]))); err != nil {
				return fileSet, err
			}
		case checkTag(b, tagTerminating):
			n = length
		}
	}
	if !found {
		return fileSet, damaged("its UDF has no logical volume")
	}
	return fileSet, nil
}

// partitionMaps reads which partition each reference means (3/10.7).
func (u *udfReader) partitionMaps(b []byte, count int) error {
	for range min(count, 64) {
		if len(b) < 6 || b[0] != 1 || b[1] != 6 {
			return damaged("its UDF has a virtual or metadata partition, which cannot be read")
		}
		u.maps = append(u.maps, le.Uint16(b[4:]))
		b = b[6:]
	}
	return nil
}

// offset is where a block of a partition is.
func (u *udfReader) offset(at icb) (int64, error) {
	if int(at.partition) >= len(u.maps) {
		return 0, damaged("its UDF has no partition %d", at.partition)
	}
	p, ok := u.partitions[u.maps[at.partition]]
	offset := int64(at.block) * sector
	if !ok || offset >= p[1] {
		return 0, damaged("its UDF has no block %d", at.block)
	}
	return p[0] + offset, nil
}

// descriptor reads a descriptor of one of some kinds.
func (u *udfReader) descriptor(at icb, ids ...uint16) ([]byte, error) {
	offset, err := u.offset(at)
	if err != nil {
		return nil, err
	}
	b := make([]byte, sector)
	if err := u.read(b, offset); err != nil {
		return nil, err
	}
	for _, id := range ids {
		if checkTag(b, id) {
			return b, nil
		}
	}
	return nil, damaged("its UDF has a broken descriptor in block %d", at.block)
}

// longICB is the place in a long_ad (4/14.14.2).
func longICB(b []byte) icb { return icb{le.Uint32(b[4:]), le.Uint16(b[8:])} }

// file reads the file entry (4/14.9, 4/14.17) of a node.
func (u *udfReader) file(n *node, at icb) error {
	b, err := u.descriptor(at, tagFile, tagLargeFile)
	if err != nil {
		return err
	}
	times, lengths := 84, 168
	if le.Uint16(b) == tagLargeFile {
		times, lengths = 92, 208
	}
	n.size, n.modified = int64(le.Uint64(b[56:])), udfTime(b[times:])
	n.entry, _ = u.offset(at)
	start := uint64(lengths) + 8 + uint64(le.Uint32(b[lengths:]))
	length := uint64(le.Uint32(b[lengths+4:]))
	if start+length > sector {
		return damaged("a file entry of its UDF is too long")
	}
	area := b[start : start+length]
	if kind := le.Uint16(b[34:]) & 7; kind == 3 { // the content itself is there
		n.extents = []extent{{n.entry + int64(start), int64(length)}}
	} else if n.extents, err = u.extents(area, kind, at.partition); err != nil {
		return err
	}
	return u.checked(n)
}

// extents reads allocation descriptors (4/14.14), which go on elsewhere if they say so.
func (u *udfReader) extents(area []byte, kind uint16, partition uint16) (list []extent, err error) {
	size := map[uint16]int{0: 8, 1: 16}[kind]
	if size == 0 {
		return nil, damaged("its UDF has allocation descriptors of the kind %d", kind)
	}
	for chained := 0; len(area) >= size; {
		length, at := le.Uint32(area), icb{le.Uint32(area[4:]), partition}
		if kind == 1 {
			at = longICB(area)
		}
		area = area[size:]
		e := extent{-1, int64(length & (1<<30 - 1))}
		if e.length == 0 {
			break
		}
		switch length >> 30 {
		case 0:
			if e.start, err = u.offset(at); err != nil {
				return nil, err
			}
		case 3: // where they go on
			b, err := u.descriptor(at, tagExtents)
			if err != nil {
				return nil, err
			}
			more := min(int(le.Uint32(b[20:])), sector-24)
			if chained++; more < 0 || chained > maxExtents/64 {
				return nil, damaged("its UDF has a file of endless parts")
			}
			area = b[24 : 24+more]
			continue
		}
		if list = append(list, e); len(list) > maxExtents {
			return nil, damaged("its UDF has a file of too many parts")
		}
	}
	return list, nil
}

// directory reads what is in a directory, and below it: file identifier descriptors (4/14.4).
// above are the directories that it is in.
func (u *udfReader) directory(dir *node, depth int, above map[icb]bool) error {
	if depth > maxDepth {
		return damaged("its UDF has directories in each other without end")
	}
	b, err := u.whole(dir.extents, dir.size)
	if err != nil {
		return err
	}
	for len(b) >= 38 {
		nameLength, useLength := int(b[19]), int(le.Uint16(b[36:]))
		end := 38 + useLength + nameLength
		if !checkTag(b, tagFileName) || end > len(b) {
			return damaged("the directory %s of its UDF is broken", dir.name)
		}
		flags, at, name := b[18], longICB(b[20:]), b[38+useLength:end]
		b = b[min(len(b), (end+3)&^3):]
		if flags&(4|8) != 0 { // deleted, or what is above
			continue
		}
		child := &node{name: udfName(name), dir: flags&2 != 0}
		if err := u.add(dir, child); err != nil {
			return err
		}
		if err := u.file(child, at); err != nil {
			return err
		}
		if !child.dir {
			continue
		}
		if above[at] {
			return damaged("its UDF has the directory %s in itself", child.name)
		}
		above[at] = true
		if err := u.directory(child, depth+1, above); err != nil {
			return err
		}
		delete(above, at)
	}
	dir.sort()
	return nil
}

// udfName is a name in OSTA compressed Unicode: bytes or pairs of them (UDF 2.1.1).
func udfName(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	switch b[0] {
	case 8:
		var s strings.Builder
		for _, c := range b[1:] {
			s.WriteRune(rune(c))
		}
		return s.String()
	case 16:
		return bigEndianName(b[1:])
	}
	return ""
}

func bigEndianName(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = uint16(b[2*i])<<8 | uint16(b[2*i+1])
	}
	return string(utf16.Decode(units))
}

// dstring is a name whose length stands in its last byte (1/7.2.12).
func dstring(b []byte) string {
	n := int(b[len(b)-1])
	if n >= len(b) {
		return ""
	}
	return udfName(b[:n])
}

// udfTime is a timestamp (1/7.3).
func udfTime(b []byte) time.Time {
	zone := int(int16(le.Uint16(b)<<4) >> 4) // minutes in twelve bits, -2047: not said
	if zone == -2047 {
		zone = 0
	}
	t := time.Date(int(int16(le.Uint16(b[2:]))), time.Month(b[4]), int(b[5]), int(b[6]), int(b[7]), int(b[8]), 0, time.UTC)
	return t.Add(-time.Duration(zone) * time.Minute)
}
