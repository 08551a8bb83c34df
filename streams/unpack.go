package streams

import (
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"io"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/magic"
)

// Compressed streams to and from the programs of the host, which know more formats, and use
// more processors, than the libraries do.

// unpack returns the content of a file that may be compressed. Closing it ends
// whatever is at work, and tells whether that went well as far as it was read.
func unpack(ctx context.Context, r io.Reader) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(&untilDone{ctx, r}, 64<<10)
	head, _ := in.Peek(magic.Length) // a shorter file has a shorter beginning
	switch magic.Of(head) {
	case magic.Gzip:
		return gzip.NewReader(in)
	case magic.Bzip2:
		return io.NopCloser(bzip2.NewReader(in)), nil
	case magic.XZ:
		return pipe(ctx, in, "xz", "-d", "-c"), nil
	case magic.Zstd:
		return pipe(ctx, in, "zstd", "-d", "-c"), nil
	}
	return io.NopCloser(in), nil
}

// An untilDone is a reader that fails once its context ends.
type untilDone struct {
	ctx context.Context
	io.Reader
}

func (r *untilDone) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// pipe returns what a program makes of r.
func pipe(ctx context.Context, r io.Reader, args ...string) io.ReadCloser {
	out, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(host.Command{Args: args, Stdin: r, Stdout: w}.Run(ctx))
	}()
	return &piped{out, done}
}

// A piped is the end of a pipe that waits for its program when it is closed.
type piped struct {
	*io.PipeReader
	done chan struct{}
}

func (p *piped) Close() error {
	err := p.PipeReader.Close() // the program ends, since nobody reads it any more
	<-p.done
	return err
}

// compress runs fill with a writer whose content goes to w as xz.
func compress(ctx context.Context, w io.Writer, fill func(io.Writer) error) error {
	in, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		// All processors, as long as their buffers do not take too much.
		err := host.Command{Args: []string{"xz", "-c", "-T0", "--memlimit-compress=1GiB"}, Stdin: in, Stdout: w}.Run(ctx)
		in.CloseWithError(err) // fill must not wait for a program that is gone
		done <- err
	}()
	err := fill(out)
	out.CloseWithError(err)
	if end := <-done; err == nil {
		err = end
	}
	return err
}
