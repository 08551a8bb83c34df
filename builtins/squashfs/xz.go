package squashfs

import (
	"context"
	"fmt"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/xz"
)

// byXZ compresses each block to a stream of its own, which is what a process for each would
// have made.
type byXZ struct {
	program host.Program
	level   int
}

func (byXZ) id() uint16 { return idXZ }

// options: readers need none where the dictionary is no larger than a block.
func (byXZ) options() []byte { return nil }

func (x byXZ) params(ctx context.Context) (string, error) {
	version, err := x.program.Version(ctx, "xz")
	return fmt.Sprintf("xz %d, %s", x.level, version), err
}

// metadataLevel is that of metadata, which are too little for another to matter.
const metadataLevel = 6

func (x byXZ) compress(ctx context.Context, size int, b batch) error {
	o := xz.Options{Check: xz.CRC32, Level: x.level, Max: size, Dictionary: size}
	if size == metadataSize {
		o.Level = metadataLevel
	}
	header := o.Check.Header()
	var stream []byte
	return xz.Compress(ctx, x.program, o, xz.Blocks{Lengths: b.lengths, Raw: b.raw, Take: func(i int, block xz.Block) error {
		stream = append(append(stream[:0], header...), block.Data...)
		stream = o.Check.AppendEnd(stream, block.Record)
		if len(stream) >= b.lengths[i] {
			return b.take(i, nil)
		}
		return b.take(i, stream)
	}})
}
