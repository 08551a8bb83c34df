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
	{257, "ustar", Tar},
}

// Length is how many bytes of a file tell what it is. A shorter file has a shorter
// beginning.
const Length = 262

// Of tells what a file is that begins so.
func Of(head []byte) Kind {
	for _, m := range table {
		if len(head) >= m.offset && bytes.HasPrefix(head[m.offset:], []byte(m.bytes)) {
			return m.kind
		}
	}
	return ""
}

// Head returns the beginning of a file, as long as it is needed. That the file is shorter
// is no error.
func Head(r io.ReaderAt) ([]byte, error) {
	head := make([]byte, Length)
	n, err := r.ReadAt(head, 0)
	if err == io.EOF {
		err = nil
	}
	return head[:n], err
}
