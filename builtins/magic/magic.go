// Package magic tells what a file is by its first bytes: the archives, compressions and
// disk images that the tool meets, and the machine that a program is for. There is one
// table of each.
//
// It does not look further into a file than its beginning: whether the rest is whole,
// what a compressed file holds, and which program reads it are for others to find out. A
// name says nothing here.
package magic

import (
	"bytes"
	"io"
)

// A Kind is what a file is, "" if that is not known. Its text is the usual name of it.
type Kind string

// The kinds that are known.
const (
	Bzip2    Kind = "bzip2"
	Gzip     Kind = "gzip"
	XZ       Kind = "xz"
	LZMA     Kind = "lzma"
	Zstd     Kind = "zstd"
	Lzip     Kind = "lzip"
	Lzop     Kind = "lzop"
	LZ4      Kind = "lz4"
	Tar      Kind = "tar" // that is not compressed
	Squashfs Kind = "squashfs"
	Qcow2    Kind = "qcow2"
	Zip      Kind = "zip"
	CPIO     Kind = "cpio"
	RPM      Kind = "rpm"
	Deb      Kind = "deb"
	XFS      Kind = "xfs"

	// These are told by more than the first Length bytes; see Deep.
	ISO9660 Kind = "iso9660"
	Ext     Kind = "ext4" // or its ancestors
	Btrfs   Kind = "btrfs"
	FAT     Kind = "fat"
	Disk    Kind = "disk" // with a partition table
)

// table is how files begin. See the specifications of the formats; an lzma file begins
// with its properties and a dictionary size, which makes it the weakest of them.
var table = []struct {
	offset int
	bytes  string
	kind   Kind
}{
	{0, "BZh", Bzip2},
	{0, "\x1f\x8b", Gzip},
	{0, "\xfd7zXZ\x00", XZ},
	{0, "\x5d\x00\x00", LZMA},
	{0, "\x28\xb5\x2f\xfd", Zstd},
	{0, "LZIP", Lzip},
	{0, "\x89LZO\x00\r\n\x1a\n", Lzop},
	{0, "\x04\x22\x4d\x18", LZ4},
	{0, "hsqs", Squashfs},
	{0, "QFI\xfb", Qcow2},
	{0, "PK\x03\x04", Zip},
	{0, "070701", CPIO}, // newc
	{0, "070702", CPIO}, // newc with checksums
	{0, "070707", CPIO}, // odc
	{0, "\xc7\x71", CPIO},
	{0, "\x71\xc7", CPIO},
	{0, "\xed\xab\xee\xdb", RPM},
	{0, "!<arch>\ndebian-binary", Deb},
	{0, "XFSB", XFS},
	{257, "ustar", Tar},
	// A medium may be a disk as well, and a file system may have a boot sector: what has
	// a partition table comes last.
	{0x8001, "CD001", ISO9660},
	{0x438, "\x53\xef", Ext},
	{0x10040, "_BHRfS_M", Btrfs},
	{0x36, "FAT12   ", FAT},
	{0x36, "FAT16   ", FAT},
	{0x52, "FAT32   ", FAT},
	{512, "EFI PART", Disk},
	{4096, "EFI PART", Disk},
	{510, "\x55\xaa", Disk},
}

// Length is how many bytes of a file tell whether it is an archive or a compressed file,
// DeepLength how many tell whether it is the image of a medium, a disk or a file system. A
// shorter file has a shorter beginning.
const (
	Length     = 262
	DeepLength = 0x10040 + 8
)

// Of tells what a file is that begins so.
func Of(head []byte) Kind {
	for _, m := range table {
		if len(head) >= m.offset && bytes.HasPrefix(head[m.offset:], []byte(m.bytes)) {
			return m.kind
		}
	}
	return ""
}

// Head returns the beginning of a file, as long as it is needed to tell archives. That the
// file is shorter is no error.
func Head(r io.ReaderAt) ([]byte, error) { return read(r, Length) }

// Deep returns the beginning of a file, as long as it is needed to tell all kinds.
func Deep(r io.ReaderAt) ([]byte, error) { return read(r, DeepLength) }

func read(r io.ReaderAt, length int) ([]byte, error) {
	head := make([]byte, length)
	n, err := r.ReadAt(head, 0)
	if err == io.EOF {
		err = nil
	}
	return head[:n], err
}
