package squashfs

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"imagebuilder/builtins/host"
)

// The higher levels of zstd are those of the program: the library has none of them.
type zstdProgram struct {
	program  host.Program
	level    int
	metadata library
}

func (zstdProgram) id() uint16      { return idZstd }
func (zstdProgram) options() []byte { return nil }

func (z zstdProgram) params(ctx context.Context) (string, error) {
	version, err := z.program.Version(ctx, "zstd")
	return fmt.Sprintf("zstd program %d, %s", z.level, version), err
}

// compress starts a process for each block: at these levels that is little.
func (z zstdProgram) compress(ctx context.Context, size int, b batch) error {
	if size == metadataSize {
		return z.metadata.compress(ctx, size, b)
	}
	return parallel(ctx, b, func() (encoder, error) {
		var out bytes.Buffer
		return func(block []byte) ([]byte, error) {
			out.Reset()
			// It is told the length, by which it takes no larger window than that.
			args := []string{"zstd", "--quiet", "--stdout", "--single-thread", "--no-check", "--ultra", "-" + strconv.Itoa(z.level),
				"--stream-size=" + strconv.Itoa(len(block))}
			err := z.program.Command(args, bytes.NewReader(block), &out).Run(ctx)
			if err != nil {
				return nil, fmt.Errorf("cannot compress by zstd: %w", err)
			}
			return out.Bytes(), nil
		}, nil
	}, func(encoder) {})
}
