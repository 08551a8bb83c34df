package unpack

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"

	"github.com/anchore/go-lzo"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"imagebuilder/builtins/magic"
)

// A look at what is compressed, for which no program has to run: only the beginning is read,
// within bounds of memory. Whether the rest is whole, the program finds out that unpacks it.

// maxWindow bounds the memory that a look at a compressed file takes.
const maxWindow = 64 << 20

// peek returns the beginning of what is compressed.
func peek(kind magic.Kind, r io.Reader) ([]byte, error) {
	var plain io.Reader
	var err error
	switch kind {
	case magic.Gzip:
		plain, err = gzip.NewReader(r)
	case magic.Bzip2:
		plain = bzip2.NewReader(r)
	case magic.XZ:
		plain, err = xz.ReaderConfig{DictCap: maxWindow}.NewReader(r)
	case magic.LZMA:
		plain, err = lzma.ReaderConfig{DictCap: maxWindow}.NewReader(r)
	case magic.Zstd:
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<31)); err == nil {
			defer d.Close()
			plain = d
		}
	case magic.Lzip:
		plain, err = newLzip(r)
	case magic.Lzop:
		plain, err = newLzop(r)
	case magic.LZ4:
		plain = lz4.NewReader(r)
	default:
		err = fmt.Errorf("internal error: nothing looks into %s", kind)
	}
	if err != nil {
		return nil, err
	}
	head := make([]byte, magic.DeepLength)
	n, err := io.ReadFull(plain, head)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = nil // it is short
	case n > 0 && errors.Is(err, gzip.ErrHeader):
		err = nil // it is short and something follows: see gunzip
	}
	return head[:n], err
}

// newLzip reads the first member of an lzip file, which is an lzma stream of fixed
// properties behind a header of its own: https://www.nongnu.org/lzip/manual/lzip_manual.html,
// chapter "File format".
func newLzip(r io.Reader) (io.Reader, error) {
	head := make([]byte, 6)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	if head[4] != 1 {
		return nil, fmt.Errorf("lzip of version %d is not known", head[4])
	}
	size := uint32(1) << min(head[5]&31, 29) // of the dictionary
	size -= size / 16 * uint32(head[5]>>5)
	properties := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32([]byte{0x5d}, size), math.MaxUint64)
	return lzma.ReaderConfig{DictCap: maxWindow}.NewReader(io.MultiReader(bytes.NewReader(properties), r))
}

// An lzopReader reads the blocks of an lzop file. There is no document of the format but the
// program, whose src/lzop.c writes a header with the name of the file, and blocks with their
// sizes and checksums, as the flags of the header say.
type lzopReader struct {
	in    *bufio.Reader
	flags uint32
	block []byte // the rest of what the last one holds
}

// The flags that say what else there is, in the header and in each block.
const (
	lzopAdlerPlain  = 0x1
	lzopAdlerPacked = 0x2
	lzopExtra       = 0x40
	lzopCRCPlain    = 0x100
	lzopCRCPacked   = 0x200
	lzopFilter      = 0x800
)

// maxLzopBlock bounds the memory for a block; lzop makes them of 256 KiB.
const maxLzopBlock = 8 << 20

func newLzop(r io.Reader) (io.Reader, error) {
	l := &lzopReader{in: bufio.NewReader(r)}
	var head struct {
		Magic                       [9]byte
		Version, Library, Necessary uint16
		Method, Level               uint8
		Flags                       uint32
	}
	if err := binary.Read(l.in, binary.BigEndian, &head); err != nil {
		return nil, err
	}
	if head.Version < 0x940 {
		return nil, fmt.Errorf("lzop of version %#x is not known", head.Version)
	}
	l.flags = head.Flags
	if l.flags&lzopFilter != 0 {
		return nil, errors.New("lzop with a filter is not known")
	}
	if _, err := l.in.Discard(12); err != nil { // mode and time
		return nil, err
	}
	name, err := l.in.ReadByte()
	if err == nil {
		_, err = l.in.Discard(int(name) + 4)
	}
	if err == nil && l.flags&lzopExtra != 0 {
		var size uint32
		if size, err = l.number(); err == nil {
			_, err = io.CopyN(io.Discard, l.in, int64(size)+4)
		}
	}
	return l, err
}

func (l *lzopReader) number() (uint32, error) {
	var n uint32
	err := binary.Read(l.in, binary.BigEndian, &n)
	return n, err
}

func (l *lzopReader) Read(p []byte) (int, error) {
	if len(l.block) == 0 {
		if err := l.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.block)
	l.block = l.block[n:]
	return n, nil
}

// next reads a block. Its checksums are looked at by the program that unpacks the file.
func (l *lzopReader) next() error {
	plain, err := l.number()
	if err == nil && plain == 0 { // which ends the file
		err = io.EOF
	}
	if err != nil {
		return err
	}
	packed, err := l.number()
	if err != nil {
		return err
	}
	if plain > maxLzopBlock || packed > plain {
		return fmt.Errorf("a block of %d bytes cannot be of %d", packed, plain)
	}
	sums := l.flags & (lzopAdlerPlain | lzopCRCPlain)
	if packed < plain { // what is stored has them once
		sums = l.flags & (lzopAdlerPlain | lzopCRCPlain | lzopAdlerPacked | lzopCRCPacked)
	}
	if _, err := l.in.Discard(4 * bits.OnesCount32(sums)); err != nil {
		return err
	}
	data := make([]byte, packed)
	if _, err := io.ReadFull(l.in, data); err != nil || packed == plain {
		l.block = data
		return err
	}
	l.block = make([]byte, plain)
	n, err := lzo.Decompress(data, l.block)
	l.block = l.block[:n]
	return err
}
