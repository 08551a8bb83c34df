// Package whole tells whether the file of an image is all there: as long as its header says
// that it is, and made of more than zeros. What is cut off on its way to a site, or was never
// written, is found before clients are given it.
//
// It reads no further than it must, and does not tell whether what is there is right: that
// is for checksums, and for those who know the formats.
package whole

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// errShort is the error of a file whose header speaks of more than there is.
func errShort(has, want int64) error {
	return fmt.Errorf("it is cut off: it has %d of at least %d bytes", has, want)
}

// Squashfs checks a squashfs file system of size bytes: by its superblock, and by the tables
// of inodes and of owners, the last of which is at its end. See the format's description in
// the kernel.
func Squashfs(r io.ReaderAt, size int64) error {
	const length = 96
	var head [length]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return readError(err, size, length)
	}
	at := func(offset int) int64 { return int64(binary.LittleEndian.Uint64(head[offset:])) }
	used, ids, inodes := at(40), at(48), at(64)
	switch {
	case used > size:
		return errShort(size, used)
	case used <= length || ids < length || ids > used-8 || inodes < length || inodes > used-8:
		return errors.New("its superblock is damaged")
	}
	var table [8]byte
	if _, err := r.ReadAt(table[:], ids); err != nil {
		return readError(err, size, used)
	}
	owners := int64(binary.LittleEndian.Uint64(table[:]))
	if owners < length || owners > ids-2 {
		return errors.New("its table of owners is damaged")
	}
	for _, offset := range []int64{inodes, owners} {
		var block [2]byte // its length
		if _, err := r.ReadAt(block[:], offset); err != nil {
			return readError(err, size, used)
		}
		if block == [2]byte{} {
			return errors.New("a table of it is empty")
		}
	}
	return nil
}

// readError is the error of a read from a file of size bytes that should have more.
func readError(err error, size, want int64) error {
	if err == io.EOF {
		return errShort(size, want)
	}
	return err
}

// Disk checks the disk of a virtual machine of which only the kind is not known, a raw one.
// Whatever is on it, something is at its beginning.
func Disk(r io.ReaderAt) error {
	head := make([]byte, 1<<20)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return err
	}
	if len(bytes.Trim(head[:n], "\x00")) == 0 {
		return errors.New("it begins with nothing but zeros")
	}
	return nil
}

// Tar checks an archive, and reads the rest of the stream that it is in.
func Tar(r io.Reader) error {
	archive := NewReader(r)
	for {
		_, err := archive.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, r) // the checksum of a compressed file comes last
			return err
		}
		if err != nil {
			return err
		}
	}
}

// A Reader reads an archive as a tar.Reader does, but takes no end of the file for the end
// of the archive.
type Reader struct {
	*tar.Reader
	in      *counter
	entries int
	sparse  bool // the entry has holes, which may be without end
}

// NewReader returns a Reader of the archive in r.
func NewReader(r io.Reader) *Reader {
	in := &counter{r: r}
	return &Reader{Reader: tar.NewReader(in), in: in}
}

// Next goes on to the next entry. After the last one the error is io.EOF.
func (r *Reader) Next() (*tar.Header, error) {
	const block = 512
	if r.entries > 0 && !r.sparse {
		if _, err := io.Copy(io.Discard, r.Reader); err != nil {
			return nil, err
		}
	}
	before := r.in.n
	h, err := r.Reader.Next()
	switch {
	case err == io.EOF && r.entries == 0:
		return nil, errors.New("there is nothing in it")
	case err == io.EOF && r.in.n-before < block: // no block of zeros after the last entry
		return nil, errors.New("it is cut off: the end of the archive is missing")
	case err != nil:
		return nil, err
	}
	r.entries++
	r.sparse = sparse(h)
	return h, nil
}

func sparse(h *tar.Header) bool {
	for _, key := range []string{"GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.size"} {
		if _, ok := h.PAXRecords[key]; ok {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// A counter counts what is read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
