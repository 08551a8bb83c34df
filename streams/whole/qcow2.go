package whole

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The qcow2 format is described in QEMU's docs/interop/qcow2.rst. What is read of a disk are
// its tables: where each piece of it is in the file, and so how long the file must be.

// A qcow2 is what the header of such a disk says.
type qcow2 struct {
	r       io.ReaderAt
	size    int64 // of the file
	bits    int64 // of an offset in a cluster
	cluster int64
	disk    int64 // size of the disk
	entry   int64 // bytes of an entry in a table of the second level
}

// Qcow2 checks a qcow2 disk in a file of size bytes: that all of its tables and of its
// clusters are in the file, and that no other file belongs to it.
func Qcow2(r io.ReaderAt, size int64) error {
	const least = 72 // bytes of the header of version 2
	head := make([]byte, 104)
	if n, err := r.ReadAt(head, 0); n < least {
		return readError(err, size, least)
	}
	u32, u64 := func(at int) int64 { return int64(binary.BigEndian.Uint32(head[at:])) }, func(at int) uint64 { return binary.BigEndian.Uint64(head[at:]) }
	q := &qcow2{r: r, size: size, disk: int64(u64(24)), bits: u32(20), entry: 8}
	version := u32(4)
	if version != 2 && version != 3 {
		return fmt.Errorf("it is qcow2 of version %d, not 2 or 3", version)
	}
	if q.bits < 9 || q.bits > 21 || q.disk < 0 {
		return errors.New("its header is damaged")
	}
	q.cluster = 1 << q.bits
	if u64(8) != 0 {
		return errors.New("it has a backing file, without which it is no disk; convert it to one file")
	}
	if version == 3 {
		const corrupt, external, extended = 1 << 1, 1 << 2, 1 << 4
		switch features := u64(72); {
		case features&external != 0:
			return errors.New("its data are in another file; convert it to one file")
		case features&corrupt != 0:
			return errors.New("it is marked as damaged")
		case features&extended != 0:
			q.entry = 16
		}
	}
	return q.checkTables(int64(u64(40)), u32(36), int64(u64(48)))
}

// checkTables checks the tables of the first level, of so many entries, and of references.
func (q *qcow2) checkTables(first, entries, references int64) error {
	const most = 32 << 20 // bytes; QEMU takes no more
	perTable := q.cluster / q.entry * q.cluster
	switch {
	case first < 0 || references <= 0 || entries*8 > most || entries < (q.disk+perTable-1)/perTable:
		return errors.New("its header is damaged")
	case references >= q.size:
		return errShort(q.size, references+1)
	case first+entries*8 > q.size:
		return errShort(q.size, first+entries*8)
	}
	table := make([]byte, entries*8)
	if _, err := q.r.ReadAt(table, first); err != nil && entries > 0 {
		return readError(err, q.size, first+entries*8)
	}
	seen := make(map[int64]bool) // so that a table to which all entries lead is read once
	for i := range entries {
		offset := int64(binary.BigEndian.Uint64(table[i*8:]) & hostOffset)
		if offset == 0 || seen[offset] {
			continue
		}
		seen[offset] = true
		if err := q.checkClusters(offset, i*perTable); err != nil {
			return err
		}
	}
	return nil
}

// hostOffset are the bits of an entry that say where something is in the file.
const hostOffset = 0x00fffffffffffe00

// checkClusters checks the clusters of a table of the second level, of which the first is at
// an offset of the disk.
func (q *qcow2) checkClusters(offset, guest int64) error {
	if offset+q.cluster > q.size {
		return errShort(q.size, offset+q.cluster)
	}
	table := make([]byte, q.cluster)
	if _, err := q.r.ReadAt(table, offset); err != nil && err != io.EOF {
		return err
	}
	for i := range q.cluster / q.entry {
		entry := binary.BigEndian.Uint64(table[i*q.entry:])
		if end := q.end(entry, guest+i*q.cluster); end > q.size {
			return errShort(q.size, end)
		}
	}
	return nil
}

// end returns how long the file must be for a cluster.
func (q *qcow2) end(entry uint64, guest int64) int64 {
	const compressed = 1 << 62
	host := int64(entry & hostOffset)
	switch {
	case entry&compressed != 0:
		return q.compressedEnd(entry)
	case host == 0: // a hole
		return 0
	case q.entry > 8: // perhaps not all of the cluster is in use
		return host + 1
	}
	return host + max(1, min(q.cluster, q.disk-guest)) // the disk may end in the last one
}

// compressedEnd is end of a compressed cluster: the entry has the offset and, above that, in
// how many more sectors the data go on. They may end anywhere in the last one.
func (q *qcow2) compressedEnd(entry uint64) int64 {
	const sector, flags = 512, 1<<63 | 1<<62
	bits := 70 - q.bits
	offset := int64(entry & (1<<bits - 1))
	more := int64(entry &^ flags >> bits)
	if more == 0 {
		return offset + 1
	}
	return (offset/sector+more)*sector + 1
}
