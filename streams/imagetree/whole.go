package imagetree

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// Files of root file systems that are whole as far as their headers say, for what looks that far.

// Squashfs returns a squashfs file with a payload where the data of its files would be.
func Squashfs(payload string) string {
	const head, table = 96, 12
	inodes := uint64(head + len(payload))
	owners := inodes + table
	ids := owners + table
	out := append(make([]byte, head), payload...)
	for range 2 {
		out = append(out, "\x0a\x80tables are"[:table]...) // 10 bytes, not compressed
	}
	out = binary.LittleEndian.AppendUint64(out, owners)
	copy(out, "hsqs")
	binary.LittleEndian.PutUint16(out[28:], 4) // its version
	for offset, value := range map[int]uint64{40: uint64(len(out)), 48: ids, 64: inodes} {
		binary.LittleEndian.PutUint64(out[offset:], value)
	}
	return string(out)
}

// Qcow2 returns a qcow2 disk with a payload of some kilobytes on it.
func Qcow2(payload string) string {
	const cluster = 512
	const references, first, second, data = 1 * cluster, 2 * cluster, 3 * cluster, 4 * cluster
	disk := (len(payload) + cluster - 1) / cluster * cluster
	out := slices.Concat(make([]byte, data), []byte(payload), bytes.Repeat([]byte{0}, disk-len(payload)))
	copy(out, "QFI\xfb")
	for offset, value := range map[int]uint32{4: 2, 20: 9, 36: 1, 56: 1} { // version, cluster bits, entries, clusters of references
		binary.BigEndian.PutUint32(out[offset:], value)
	}
	for offset, value := range map[int]uint64{24: uint64(disk), 40: first, 48: references, first: second} {
		binary.BigEndian.PutUint64(out[offset:], value)
	}
	for i := 0; i*cluster < disk; i++ {
		binary.BigEndian.PutUint64(out[second+8*i:], uint64(data+i*cluster))
	}
	return string(out)
}
