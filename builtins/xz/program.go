package xz

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"

	"imagebuilder/builtins/host"
)

// No library compresses as well as the program does, and starting it for each block takes
// time. So one process gets all blocks, one after the other, and is told where each ends.

// Options say how blocks are compressed.
type Options struct {
	Check      Check
	Level      int // 0 to 9
	Max        int // length of the longest block
	Dictionary int // its size in bytes; 0: that of the level
}

// Blocks are what is to be compressed. The functions are called in order, by one goroutine
// each.
type Blocks struct {
	Lengths []int
	// Raw reads a block into the buffer, which has its length.
	Raw func(i int, buf []byte) error
	// Take gets a block, which is its own only until it returns.
	Take func(i int, b Block) error
}

// maxList is how many blocks a process is told of: the list is one argument, which the
// kernel takes up to 128 KiB of.
const maxList = 8000

// Compress compresses blocks, each of which becomes what it would become alone, whatever the
// number of processors.
func Compress(ctx context.Context, program host.Program, o Options, b Blocks) error {
	for from := 0; from < len(b.Lengths); from += maxList {
		part := Blocks{
			Lengths: b.Lengths[from:min(from+maxList, len(b.Lengths))],
			Raw:     func(i int, buf []byte) error { return b.Raw(from+i, buf) },
			Take:    func(i int, block Block) error { return b.Take(from+i, block) },
		}
		if err := compress(ctx, program, o, part); err != nil {
			return err
		}
	}
	return nil
}

func compress(ctx context.Context, program host.Program, o Options, b Blocks) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := &feed{Blocks: b}
	out, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := program.Command(o.args(b.Lengths), in, w).Run(ctx)
		w.CloseWithError(err)
		ended <- err
	}()
	err := o.Check.split(bufio.NewReaderSize(out, 64<<10), b.Lengths, b.Take)
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
func (o Options) args(lengths []int) []string {
	var list strings.Builder
	for i, n := range lengths {
		if i > 0 {
			list.WriteByte(',')
		}
		list.WriteString(strconv.Itoa(n))
	}
	preset := fmt.Sprintf("--lzma2=preset=%d", o.Level)
	if o.Dictionary != 0 {
		preset += fmt.Sprintf(",dict=%d", o.Dictionary)
	}
	return []string{"xz", "--format=xz", "--check=" + map[Check]string{CRC32: "crc32", CRC64: "crc64"}[o.Check],
		"--stdout", "--quiet", "--threads=" + strconv.Itoa(max(2, runtime.GOMAXPROCS(0))), preset,
		"--block-size=" + strconv.Itoa(o.Max), "--block-list=" + list.String()}
}

// feed is what the blocks are one after the other.
type feed struct {
	Blocks
	next int
	buf  []byte
	left []byte
	err  error // that ended it too early
}

func (f *feed) Read(p []byte) (int, error) {
	for len(f.left) == 0 {
		if f.next == len(f.Lengths) {
			return 0, io.EOF
		}
		n := f.Lengths[f.next]
		if cap(f.buf) < n {
			f.buf = make([]byte, n)
		}
		f.left = f.buf[:n]
		if f.err = f.Raw(f.next, f.left); f.err != nil {
			return 0, f.err
		}
		f.next++
	}
	n := copy(p, f.left)
	f.left = f.left[n:]
	return n, nil
}
