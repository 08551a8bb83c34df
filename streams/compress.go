package streams

import (
	"context"
	"io"

	"imagebuilder/builtins/host"
)

// compress runs fill with a writer whose content goes to w as xz, by the program, which uses
// more processors than the libraries do.
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
