package unpack

import (
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"io"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/magic"
)

// Compressed files that are read as a stream and kept nowhere, by the programs of the host:
// they know more formats, and use more processors, than the libraries do.

// Stream returns the content of a file that may be compressed. Closing it ends whatever is
// at work, and tells whether that went well as far as it was read.
func Stream(ctx context.Context, r io.Reader) (io.ReadCloser, error) {
	in := bufio.NewReaderSize(UntilDone(ctx, r), 64<<10)
	head, _ := in.Peek(magic.Length) // a shorter file has a shorter beginning
	switch kind := magic.Of(head); kind {
	case magic.Gzip:
		return gzip.NewReader(in)
	case magic.Bzip2:
		return io.NopCloser(bzip2.NewReader(in)), nil
	default:
		if by, ok := flags[kind]; ok {
			return pipe(ctx, in, by.program, "-dc"), nil
		}
	}
	return io.NopCloser(in), nil
}

// UntilDone returns a reader that fails once its context ends.
func UntilDone(ctx context.Context, r io.Reader) io.Reader { return &untilDone{ctx, r} }

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
