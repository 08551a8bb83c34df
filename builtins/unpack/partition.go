package unpack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"imagebuilder/builtins/magic"
)

// Partition tables, as far as it takes to find the file systems on an image of a disk: that
// of the UEFI specification, chapter 5 (GPT), and the older one of PCs (MBR).

// A Partition is a part of a disk.
type Partition struct {
	Number      int
	Start, Size int64 // in bytes
	Kind        magic.Kind
}

func (p Partition) String() string {
	kind := string(p.Kind)
	if kind == "" {
		kind = "unknown"
	}
	return fmt.Sprintf("%d (%s)", p.Number, kind)
}

const (
	maxPartitions = 256
	mbrSector     = 512
)

// Partitions returns the partitions of a disk, in the order of their numbers.
func Partitions(disk io.ReaderAt, size int64) ([]Partition, error) {
	for _, sector := range []int64{512, 4096} {
		header := make([]byte, 92)
		if _, err := disk.ReadAt(header, sector); err == nil && string(header[:8]) == "EFI PART" {
			return kinds(gpt(disk, header, sector, size))(disk)
		}
	}
	return kinds(mbr(disk, size))(disk)
}

// kinds tells what is in each partition.
func kinds(list []Partition, err error) func(io.ReaderAt) ([]Partition, error) {
	return func(disk io.ReaderAt) ([]Partition, error) {
		for i, p := range list {
			head, err := magic.Deep(io.NewSectionReader(disk, p.Start, p.Size))
			if err != nil {
				return nil, err
			}
			list[i].Kind = magic.Of(head)
		}
		return list, err
	}
}

func gpt(disk io.ReaderAt, header []byte, sector, size int64) ([]Partition, error) {
	le := binary.LittleEndian
	first := le.Uint64(header[72:])
	count, each := le.Uint32(header[80:]), le.Uint32(header[84:])
	if first > uint64(size/sector) || count > maxPartitions || each < 128 || each > 4096 {
		return nil, errors.New("its partition table is damaged")
	}
	table := make([]byte, int(count*each))
	if _, err := disk.ReadAt(table, int64(first)*sector); err != nil {
		return nil, fmt.Errorf("cannot read its partition table: %w", err)
	}
	var list []Partition
	for i := range int(count) {
		entry := table[i*int(each):][:each]
		if bytes.Equal(entry[:16], make([]byte, 16)) {
			continue
		}
		start, end := le.Uint64(entry[32:]), le.Uint64(entry[40:])
		if start > end || end >= uint64(size/sector) {
			return nil, fmt.Errorf("partition %d does not lie on the disk", i+1)
		}
		list = append(list, Partition{Number: i + 1, Start: int64(start) * sector, Size: int64(end-start+1) * sector})
	}
	return list, nil
}

// mbr reads the four primary partitions and the chain of tables of logical ones.
func mbr(disk io.ReaderAt, size int64) ([]Partition, error) {
	list, extended, err := mbrTable(disk, 0, 0, size)
	if err != nil {
		return nil, err
	}
	for number, at := 5, extended; at != 0 && number < maxPartitions; number++ {
		logical, next, err := mbrTable(disk, at, extended, size)
		if err != nil {
			return nil, err
		}
		if len(logical) > 0 {
			logical[0].Number = number
			list = append(list, logical[0])
		}
		if at = next; at <= extended { // a chain that comes back would have no end
			break
		}
	}
	return list, nil
}

// mbrTable reads one table, and where the next is. That of a logical partition is relative to
// the table itself, that of the next table to the first of the chain.
func mbrTable(disk io.ReaderAt, at, chain, size int64) (list []Partition, next int64, err error) {
	sector := make([]byte, mbrSector)
	if _, err := disk.ReadAt(sector, at); err != nil {
		return nil, 0, fmt.Errorf("cannot read its partition table: %w", err)
	}
	if sector[510] != 0x55 || sector[511] != 0xaa {
		return nil, 0, errors.New("its partition table is damaged")
	}
	for i := range 4 {
		entry := sector[446+16*i:][:16]
		start := int64(binary.LittleEndian.Uint32(entry[8:])) * mbrSector
		length := int64(binary.LittleEndian.Uint32(entry[12:])) * mbrSector
		switch entry[4] {
		case 0:
		case 0x05, 0x0f, 0x85:
			next = chain + start
		default:
			if length == 0 || at+start+length > size {
				return nil, 0, fmt.Errorf("partition %d does not lie on the disk", i+1)
			}
			list = append(list, Partition{Number: i + 1, Start: at + start, Size: length})
		}
	}
	return list, next, nil
}

// Choose returns one of the partitions: that of the number, the last for -1, or for 0 the
// only one with a file system.
func Choose(list []Partition, number int) (Partition, error) {
	var names []string
	var found []Partition
	for _, p := range list {
		names = append(names, p.String())
		if p.Number == number || number == 0 && p.Kind != "" && p.Kind != magic.Disk {
			found = append(found, p)
		}
	}
	if number == -1 && len(list) > 0 {
		found = list[len(list)-1:]
	}
	switch {
	case len(list) == 0:
		return Partition{}, errors.New("it has no partitions")
	case len(found) == 0 && number == 0:
		return Partition{}, fmt.Errorf("none of its partitions has a file system that is known: %s", strings.Join(names, ", "))
	case len(found) == 0:
		return Partition{}, fmt.Errorf("it has no partition %d; there are %s", number, strings.Join(names, ", "))
	case len(found) > 1:
		return Partition{}, fmt.Errorf("several of its partitions have file systems; say which by partition: %s", strings.Join(names, ", "))
	}
	return found[0], nil
}
