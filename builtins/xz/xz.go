// Package xz puts streams of the format of xz together out of blocks, and has the program make
// those. Each block is compressed for itself, so that one that was made before can be used
// again. The format is that of https://tukaani.org/xz/xz-file-format.txt. What the blocks are,
// and how they are found again, is its callers' business.
package xz

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A Check is how a stream lets its readers find out whether its blocks are whole.
type Check byte

const (
	CRC32 Check = 1 // the only one that the kernel knows
	CRC64 Check = 4 // the program's own choice
)

func (c Check) size() int { return 4 * (1 + int(c)/4) }

// Header begins a stream.
func (c Check) Header() []byte {
	flags := []byte{0, byte(c)}
	return binary.LittleEndian.AppendUint32(append([]byte("\xfd7zXZ\x00"), flags...), crc32.ChecksumIEEE(flags))
}

// A Block is some bytes as a stream has them.
type Block struct {
	Data []byte // with header, padding and check
	Record
}

// A Record is what the end of a stream says of a block.
type Record struct {
	Unpadded int64 // length of the data but for their padding
	Size     int64 // of what is compressed
}

// AppendEnd appends what comes behind the blocks of a stream: the index and the footer.
func (c Check) AppendEnd(stream []byte, blocks ...Record) []byte {
	index := len(stream)
	stream = append(stream, 0)
	stream = binary.AppendUvarint(stream, uint64(len(blocks)))
	for _, b := range blocks {
		stream = binary.AppendUvarint(stream, uint64(b.Unpadded))
		stream = binary.AppendUvarint(stream, uint64(b.Size))
	}
	for (len(stream)-index)%4 != 0 {
		stream = append(stream, 0)
	}
	stream = binary.LittleEndian.AppendUint32(stream, crc32.ChecksumIEEE(stream[index:]))
	footer := binary.LittleEndian.AppendUint32(nil, uint32(len(stream)-index)/4-1)
	footer = append(footer, 0, byte(c))
	stream = binary.LittleEndian.AppendUint32(stream, crc32.ChecksumIEEE(footer))
	return append(append(stream, footer...), "YZ"...)
}

// maxHeader is how long the header of a block can be.
const maxHeader = 1024

// split takes a stream apart that has blocks of these lengths.
func (c Check) split(r *bufio.Reader, lengths []int, take func(i int, b Block) error) error {
	head := make([]byte, len(c.Header()))
	if _, err := io.ReadFull(r, head); err != nil {
		return eof(err)
	}
	if string(head) != string(c.Header()) {
		return errors.New("its output does not begin as asked for")
	}
	var b Block
	for i, n := range lengths {
		if err := c.readBlock(r, &b, n); err != nil {
			return err
		}
		if err := take(i, b); err != nil {
			return err
		}
	}
	if end, err := r.ReadByte(); err != nil || end != 0 {
		return errors.Join(errors.New("its output has more blocks than asked for"), eof(err))
	}
	_, err := io.Copy(io.Discard, r)
	return err
}

// readBlock reads the next block, which has to have a length.
func (c Check) readBlock(r *bufio.Reader, b *Block, length int) error {
	first, err := r.Peek(2)
	if err != nil {
		return eof(err)
	}
	if first[0] == 0 {
		return errors.New("its output has fewer blocks than asked for")
	}
	if first[1]&0xc0 != 0xc0 {
		return errors.New("its output does not say how long blocks are; a version from 5.2 on does")
	}
	size := 4 * (int(first[0]) + 1)
	header, err := r.Peek(size)
	if err != nil {
		return eof(err)
	}
	stored, n := binary.Uvarint(header[2:])
	raw, m := binary.Uvarint(header[2+max(n, 0):])
	if n <= 0 || m <= 0 || stored > 2*uint64(length)+maxHeader || raw != uint64(length) {
		return fmt.Errorf("its output has another block than the one of %d bytes", length)
	}
	body := size + int(stored+3)/4*4 + c.size()
	if cap(b.Data) < body {
		b.Data = make([]byte, body)
	}
	b.Data = b.Data[:body]
	b.Record = Record{Unpadded: int64(size) + int64(stored) + int64(c.size()), Size: int64(raw)}
	_, err = io.ReadFull(r, b.Data)
	return eof(err)
}

// eof is the end of a stream where more of it was to come.
func eof(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
