package squashfs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"strconv"
	"strings"
)

// No library compresses as well as xz does, and starting it for each block takes time. So
// one process gets all blocks, one after the other, and is told where each ends: its
// output is cut into one stream for each block, which are what a process for each would
// have made. The format is that of https://tukaani.org/xz/xz-file-format.txt.
type xz struct {
	Program
	level int
}

func (xz) id() uint16 { return idXZ }

// options: readers need none where the dictionary is no larger than a block.
func (xz) options() []byte { return nil }

func (x xz) params(ctx context.Context) (string, error) {
	var out bytes.Buffer
	err := x.command([]string{"xz", "--version"}, nil, &out).Run(ctx)
	return fmt.Sprintf("xz %d, %s", x.level, strings.Join(strings.Fields(out.String()), " ")), err
}

// maxList is how many blocks a process is told of: the list is one argument, which the
// kernel takes up to 128 KiB of.
const maxList = 8000

// metadataLevel is that of metadata, which are too little for another to matter.
const metadataLevel = 6

func (x xz) compress(ctx context.Context, size int, b batch) error {
	for from := 0; from < len(b.lengths); from += maxList {
		if err := x.run(ctx, size, b.part(from, min(from+maxList, len(b.lengths)))); err != nil {
			return err
		}
	}
	return nil
}

// run has a process compress a batch.
func (x xz) run(ctx context.Context, size int, b batch) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := &feed{batch: b}
	out, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := x.command(x.args(size, b.lengths), in, w).Run(ctx)
		w.CloseWithError(err)
		ended <- err
	}()
	err := cut(bufio.NewReaderSize(out, 64<<10), b)
	out.CloseWithError(errors.New("internal error: nobody reads the blocks"))
	if err != nil {
		cancel()
	}
	exit := <-ended
	switch {
	case in.err != nil:
		return in.err
	case err == nil:
		err = exit
	case exit != nil && errors.Is(err, io.ErrUnexpectedEOF):
		err = exit
	}
	if err != nil {
		return fmt.Errorf("cannot compress by xz: %w", err)
	}
	return nil
}

// args: only with two threads or more does xz write the lengths of a block before it, and
// any such number gives the same bytes.
func (x xz) args(size int, lengths []int) []string {
	level := x.level
	if size == metadataSize {
		level = metadataLevel
	}
	var list strings.Builder
	for i, n := range lengths {
		if i > 0 {
			list.WriteByte(',')
		}
		list.WriteString(strconv.Itoa(n))
	}
	return []string{"xz", "--format=xz", "--check=crc32", "--stdout", "--quiet",
		"--threads=" + strconv.Itoa(max(2, runtime.GOMAXPROCS(0))),
		fmt.Sprintf("--lzma2=preset=%d,dict=%d", level, size),
		"--block-size=" + strconv.Itoa(size), "--block-list=" + list.String()}
}

// feed is what the blocks of a batch are one after the other.
type feed struct {
	batch
	next int
	buf  []byte
	left []byte
	err  error // that ended it too early
}

func (f *feed) Read(p []byte) (int, error) {
	for len(f.left) == 0 {
		if f.next == len(f.lengths) {
			return 0, io.EOF
		}
		n := f.lengths[f.next]
		if cap(f.buf) < n {
			f.buf = make([]byte, n)
		}
		f.left = f.buf[:n]
		if f.err = f.raw(f.next, f.left); f.err != nil {
			return 0, f.err
		}
		f.next++
	}
	n := copy(p, f.left)
	f.left = f.left[n:]
	return n, nil
}

// streamHeader begins a stream whose check is CRC32, the only one that the kernel knows.
const streamHeader = "\xfd7zXZ\x00\x00\x01\x69\x22\xde\x36"

// maxHeader is how long the header of a block can be.
const maxHeader = 1024

// cut cuts a stream of blocks into streams of one block.
func cut(r *bufio.Reader, b batch) error {
	head := make([]byte, len(streamHeader))
	if _, err := io.ReadFull(r, head); err != nil {
		return eof(err)
	}
	if string(head) != streamHeader {
		return errors.New("its output does not begin as asked for")
	}
	var stream []byte
	for i, n := range b.lengths {
		var err error
		if stream, err = readBlock(r, append(stream[:0], streamHeader...), n); err != nil {
			return err
		}
		compressed := stream
		if len(compressed) >= n {
			compressed = nil
		}
		if err := b.take(i, compressed); err != nil {
			return err
		}
	}
	if end, err := r.ReadByte(); err != nil || end != 0 {
		return errors.Join(errors.New("its output has more blocks than asked for"), eof(err))
	}
	_, err := io.Copy(io.Discard, r)
	return err
}

// readBlock appends the next block, which has to have a length, and the end of a stream.
func readBlock(r *bufio.Reader, stream []byte, length int) ([]byte, error) {
	start := len(stream)
	first, err := r.Peek(2)
	if err != nil {
		return nil, eof(err)
	}
	if first[0] == 0 {
		return nil, errors.New("its output has fewer blocks than asked for")
	}
	if first[1]&0xc0 != 0xc0 {
		return nil, errors.New("its output does not say how long blocks are; a version from 5.2 on does")
	}
	size := 4 * (int(first[0]) + 1)
	header, err := r.Peek(size)
	if err != nil {
		return nil, eof(err)
	}
	stored, n := binary.Uvarint(header[2:])
	raw, m := binary.Uvarint(header[2+max(n, 0):])
	if n <= 0 || m <= 0 || stored > 2*uint64(length)+maxHeader || raw != uint64(length) {
		return nil, fmt.Errorf("its output has another block than the one of %d bytes", length)
	}
	body := size + int(stored+3)/4*4 + crc32.Size
	stream = append(stream, make([]byte, body)...)
	if _, err := io.ReadFull(r, stream[start:]); err != nil {
		return nil, eof(err)
	}
	return endStream(stream, uint64(size)+stored+crc32.Size, raw), nil
}

// endStream appends the index of a block and the end of its stream. What is unpadded is the
// length of the block with header and check.
func endStream(stream []byte, unpadded, raw uint64) []byte {
	index := len(stream)
	stream = append(stream, 0, 1)
	stream = binary.AppendUvarint(stream, unpadded)
	stream = binary.AppendUvarint(stream, raw)
	for (len(stream)-index)%4 != 0 {
		stream = append(stream, 0)
	}
	stream = binary.LittleEndian.AppendUint32(stream, crc32.ChecksumIEEE(stream[index:]))
	footer := binary.LittleEndian.AppendUint32(nil, uint32(len(stream)-index)/4-1)
	footer = append(footer, 0, 1)
	stream = binary.LittleEndian.AppendUint32(stream, crc32.ChecksumIEEE(footer))
	return append(append(stream, footer...), "YZ"...)
}

// eof is the end of a stream where more of it was to come.
func eof(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
