package windows

import (
	"strings"
	"time"
)

// ISO 9660, with the names of Joliet or else of Rock Ridge where it has them. Numbers in
// comments are sections of ECMA-119.

// An isoReader reads one of the trees of a medium.
type isoReader struct {
	*Volume
	joliet bool
	skip   int // bytes before the system use fields of Rock Ridge; negative: there are none
}

func (v *Volume) readISO() error {
	volumes, err := v.isoVolumes()
	if err != nil {
		return err
	}
	var tree isoVolume
	for _, volume := range volumes {
		if volume.b[0] == 1 {
			v.Label = strings.TrimRight(string(volume.b[40:72]), " \x00")
		}
		if tree.b == nil && volume.b[0] == 1 || volume.joliet() {
			tree = volume
		}
	}
	if tree.b == nil {
		return damaged("its ISO 9660 has no primary volume")
	}
	v.root, err = v.isoTree(tree)
	return err
}

// An isoVolume is a volume descriptor (8) of one that has a tree of files.
type isoVolume struct {
	at int64 // in the image
	b  []byte
}

// isoVolumes are the volumes that have trees of files.
func (v *Volume) isoVolumes() (list []isoVolume, err error) {
	for n := int64(16); n < 64; n++ {
		b := make([]byte, sector)
		if err := v.read(b, n*sector); err != nil {
			return nil, err
		}
		if string(b[1:6]) != "CD001" || b[0] == 255 {
			break
		}
		if b[0] == 1 || b[0] == 2 {
			list = append(list, isoVolume{n * sector, b})
		}
	}
	return list, nil
}

// joliet tells whether a volume has the names of Joliet.
func (volume isoVolume) joliet() bool {
	b := volume.b
	return b[0] == 2 && b[88] == '%' && b[89] == '/' && strings.ContainsRune("@CE", rune(b[90]))
}

// isoTree reads the tree of files of a volume.
func (v *Volume) isoTree(volume isoVolume) (*node, error) {
	r := &isoReader{Volume: v, joliet: volume.joliet(), skip: -1}
	root := &node{name: ".", dir: true}
	if err := r.place(root, volume.b[156:190]); err != nil {
		return nil, err
	}
	return root, r.directory(root, 0, map[int64]bool{})
}

// place reads from a directory record (9.1) where a file is.
func (r *isoReader) place(n *node, b []byte) error {
	e := extent{(int64(le.Uint32(b[2:])) + int64(b[1])) * sector, int64(le.Uint32(b[10:]))}
	n.extents, n.size = append(n.extents, e), n.size+e.length
	n.modified = isoTime(b[18:25])
	if len(n.extents) > maxExtents {
		return damaged("its ISO 9660 has a file of too many parts")
	}
	return r.checked(n)
}

// directory reads what is in a directory, and below it.
func (r *isoReader) directory(dir *node, depth int, above map[int64]bool) error {
	at := dir.extents[0].start
	if depth > maxDepth || above[at] {
		return damaged("its ISO 9660 has directories in each other without end")
	}
	above[at] = true
	defer delete(above, at)
	b, err := r.whole(dir.extents, dir.size)
	if err != nil {
		return err
	}
	var last *node // whose next part may follow
	for pos := 0; pos < len(b); {
		length := int(b[pos])
		if length == 0 { // records do not cross sectors
			pos = (pos/sector + 1) * sector
			continue
		}
		if length < 34 || pos+length > len(b) || 33+int(b[pos+32]) > length {
			return damaged("the directory %s of its ISO 9660 is broken", dir.name)
		}
		record := b[pos : pos+length]
		pos += length
		raw := record[33 : 33+int(record[32])]
		if len(raw) == 1 && raw[0] <= 1 { // itself, or what is above
			if raw[0] == 0 && depth == 0 && !r.joliet {
				r.skip = rockRidge(record)
			}
			continue
		}
		if last == nil {
			last = &node{name: r.name(raw, record), dir: record[25]&2 != 0, entry: at + int64(pos-length)}
			if err := r.add(dir, last); err != nil {
				return err
			}
		}
		if err := r.place(last, record); err != nil {
			return err
		}
		if record[25]&0x80 != 0 { // there is more of it
			continue
		}
		if last.dir {
			if err := r.directory(last, depth+1, above); err != nil {
				return err
			}
		}
		last = nil
	}
	dir.sort()
	return nil
}

// name is the name of a record.
func (r *isoReader) name(raw, record []byte) string {
	if r.joliet {
		name, _, _ := strings.Cut(bigEndianName(raw), ";")
		return name
	}
	if name := r.rockName(systemUse(record)); name != "" {
		return name
	}
	name, _, _ := strings.Cut(string(raw), ";")
	return strings.TrimSuffix(name, ".")
}

// systemUse are the bytes of a record behind its name (9.1.13).
func systemUse(record []byte) []byte {
	start := 33 + int(record[32])
	start += start % 2 // the fields begin at an even offset
	if start > len(record) {
		return nil
	}
	return record[start:]
}

// rockRidge tells from the first record of the root whether there are fields of SUSP, and how
// many bytes are before them: -1, there are none.
func rockRidge(record []byte) int {
	use := systemUse(record)
	if len(use) < 7 || string(use[:2]) != "SP" || use[4] != 0xbe || use[5] != 0xef {
		return -1
	}
	return int(use[6])
}

// rockName is the name in the NM fields of Rock Ridge (RRIP 4.1.4), which may go on elsewhere.
func (r *isoReader) rockName(use []byte) string {
	if r.skip < 0 || len(use) < r.skip {
		return ""
	}
	use = use[r.skip:]
	name, next := "", []byte(nil)
	for more := 0; more < 16; {
		if len(use) < 4 || use[2] < 4 || int(use[2]) > len(use) {
			if use, next = next, nil; use == nil {
				break
			}
			more++
			continue
		}
		length := int(use[2])
		field := use[:length]
		use = use[length:]
		switch string(field[:2]) {
		case "NM":
			if length > 5 && field[4]&^1 == 0 {
				name += string(field[5:])
			}
		case "CE":
			if length < 28 {
				continue
			}
			next = make([]byte, min(le.Uint32(field[20:]), sector))
			if r.read(next, int64(le.Uint32(field[4:]))*sector+int64(le.Uint32(field[12:]))) != nil {
				next = nil
			}
		}
	}
	return name
}

// isoTime is a date of a record (9.1.5).
func isoTime(b []byte) time.Time {
	t := time.Date(1900+int(b[0]), time.Month(b[1]), int(b[2]), int(b[3]), int(b[4]), int(b[5]), 0, time.UTC)
	return t.Add(-time.Duration(int8(b[6])) * 15 * time.Minute)
}
