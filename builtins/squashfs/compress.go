package squashfs

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"imagebuilder/builtins/host"
)

// Blocks are compressed each on its own, and many at a time.

// A Compressor compresses blocks. It may be used by one goroutine at a time.
type Compressor interface {
	// id is what the superblock calls the method.
	id() uint16
	// options stand behind the superblock; nil: nothing does.
	options() []byte
	// params are all that the compressed bytes depend on besides those of the block.
	params(ctx context.Context) (string, error)
	// compress compresses the blocks of a batch, none of which is longer than size.
	compress(ctx context.Context, size int, b batch) error
}

// A batch is a list of blocks to be compressed. Its functions are called in order, by one
// goroutine each.
type batch struct {
	lengths []int
	// raw reads a block into the buffer, which has its length.
	raw func(i int, buf []byte) error
	// take gets a compressed block, which is its own only until it returns; nil: the block
	// gets no shorter.
	take func(i int, compressed []byte) error
}

// The methods as the superblock calls them.
const (
	idGzip = 1
	idXZ   = 4
	idLZ4  = 5
	idZstd = 6
)

// Methods are those that [NewCompressor] knows. Of what else squashfs can hold, lzma and lzo,
// there is no compressor for blocks.
var Methods = []string{"gzip", "lz4", "none", "xz", "zstd"}

// ProgramOf names the program that a method with a level is left to; "" where it is none.
func ProgramOf(method string, level int) string {
	if method == "xz" || method == "zstd" && level > libraryZstd {
		return method
	}
	return ""
}

// NewCompressor returns the compressor of a method with a level, -1 for the method's own
// default: xz takes 0 to 9, gzip 1 to 9, zstd 1 to 22, the others none. The program is that
// of [ProgramOf].
func NewCompressor(method string, level int, program host.Program) (Compressor, error) {
	at := func(least, most, usual int) (int, error) {
		if level < 0 {
			return usual, nil
		}
		if level < least || level > most {
			return 0, fmt.Errorf("%s takes a level from %d to %d, not %d", method, least, most, level)
		}
		return level, nil
	}
	idle := make(chan encoder, runtime.GOMAXPROCS(0))
	switch method {
	case "xz":
		n, err := at(0, 9, 6)
		return byXZ{level: n, program: program}, err
	case "gzip":
		n, err := at(1, 9, 9)
		return library{number: idGzip, name: fmt.Sprintf("gzip %d, %s", n, moduleVersion("github.com/klauspost/compress")),
			newEncoder: func() (encoder, error) { return newGzip(n) }, idle: idle}, err
	case "zstd":
		n, err := at(1, 22, 15)
		l := library{number: idZstd, name: fmt.Sprintf("zstd %d, %s", n, moduleVersion("github.com/klauspost/compress")),
			newEncoder: func() (encoder, error) { return newZstd(min(n, libraryZstd)) }, idle: idle}
		if level > libraryZstd {
			return zstdProgram{program: program, level: n, metadata: l}, err
		}
		return l, err
	case "lz4":
		return library{number: idLZ4, text: []byte{1, 0, 0, 0, 0, 0, 0, 0}, name: "lz4, " + moduleVersion("github.com/pierrec/lz4/v4"),
			newEncoder: newLZ4, idle: idle}, levelless(method, level)
	case "none":
		return none{}, levelless(method, level)
	}
	return nil, fmt.Errorf("no compression of blocks is called %q; known are %s", method, strings.Join(Methods, ", "))
}

func levelless(method string, level int) error {
	if level >= 0 {
		return fmt.Errorf("%s takes no level", method)
	}
	return nil
}

// moduleVersion is the version of a module that this program is built of.
func moduleVersion(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == module {
				return m.Version
			}
		}
	}
	return "of this build"
}

// none leaves blocks as they are.
type none struct{}

func (none) id() uint16                             { return idGzip } // some method has to be named
func (none) options() []byte                        { return nil }
func (none) params(context.Context) (string, error) { return "none", nil }
func (none) compress(ctx context.Context, _ int, b batch) error {
	for i := range b.lengths {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := b.take(i, nil); err != nil {
			return err
		}
	}
	return nil
}

// An encoder compresses one block after the other. The result is its own until the next.
type encoder func(block []byte) ([]byte, error)

// library is a compressor that is part of this program.
type library struct {
	number     uint16
	text       []byte // options of the superblock
	name       string
	newEncoder func() (encoder, error)
	idle       chan encoder // of batches before
}

func (l library) id() uint16                             { return l.number }
func (l library) options() []byte                        { return l.text }
func (l library) params(context.Context) (string, error) { return l.name, nil }

// job is one block on its way through a worker.
type job struct {
	block  []byte
	result []byte // nil: it gets no shorter
	err    error
	done   chan struct{}
}

// compress has as many workers as there are processors. Twice as many blocks are on their way
// at most.
func (l library) compress(ctx context.Context, size int, b batch) error {
	return parallel(ctx, b, l.get, func(e encoder) {
		select {
		case l.idle <- e:
		default:
		}
	})
}

// get returns an encoder of a batch before, if there is one: they take much memory.
func (l library) get() (encoder, error) {
	select {
	case e := <-l.idle:
		return e, nil
	default:
		return l.newEncoder()
	}
}

// parallel compresses the blocks of a batch by an encoder for each processor, which is given
// back at the end.
func parallel(ctx context.Context, b batch, get func() (encoder, error), put func(encoder)) error {
	workers := min(runtime.GOMAXPROCS(0), len(b.lengths))
	ctx, cancel := context.WithCancelCause(ctx)
	todo, order, free := make(chan *job, 2*workers), make(chan *job, 2*workers), make(chan *job, 2*workers)
	for range 2 * workers {
		free <- new(job)
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel(errors.New("internal error: nobody takes the blocks"))
	for range workers {
		all.Go(func() {
			encode, err := get()
			if err == nil {
				defer put(encode)
			}
			for j := range todo {
				if j.err = err; err == nil {
					j.run(encode)
				}
				close(j.done)
			}
		})
	}
	all.Go(func() {
		defer close(order)
		defer close(todo)
		for i, n := range b.lengths {
			var j *job
			select {
			case j = <-free:
			case <-ctx.Done():
				return
			}
			if cap(j.block) < n {
				j.block = make([]byte, n)
			}
			j.block, j.done = j.block[:n], make(chan struct{})
			if err := b.raw(i, j.block); err != nil {
				cancel(err)
				return
			}
			todo <- j
			order <- j
		}
	})
	i := 0
	for j := range order {
		<-j.done
		if j.err != nil {
			return j.err
		}
		if err := b.take(i, j.result); err != nil {
			return err
		}
		i++
		free <- j
	}
	return context.Cause(ctx)
}

func (j *job) run(encode encoder) {
	out, err := encode(j.block)
	if j.result, j.err = nil, err; err == nil && len(out) < len(j.block) && out != nil {
		j.result = append(j.result, out...)
	}
}

// A sliceWriter appends what is written to it.
type sliceWriter []byte

func (w *sliceWriter) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

func newGzip(level int) (encoder, error) {
	var out sliceWriter
	z, err := zlib.NewWriterLevel(&out, level)
	return func(block []byte) ([]byte, error) {
		out = out[:0]
		z.Reset(&out)
		if _, err := z.Write(block); err != nil {
			return nil, err
		}
		err := z.Close()
		return out, err
	}, err
}

// libraryZstd is the highest level of zstd at which the library is what the program is.
const libraryZstd = 11

// newZstd makes frames of a single segment, whose window is the block, as the kernel has a
// buffer for no more.
func newZstd(level int) (encoder, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithEncoderConcurrency(1),
		zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	var out []byte
	return func(block []byte) ([]byte, error) {
		out = z.EncodeAll(block, out[:0])
		return out, nil
	}, err
}

func newLZ4() (encoder, error) {
	var c lz4.Compressor
	var out []byte
	return func(block []byte) ([]byte, error) {
		if len(out) < len(block) {
			out = make([]byte, len(block))
		}
		n, err := c.CompressBlock(block, out[:len(block)])
		if n == 0 || errors.Is(err, lz4.ErrInvalidSourceShortBuffer) {
			return nil, nil
		}
		return out[:n], err
	}, nil
}
