package treetask

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"imagebuilder/builtins/magic"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
)

// Layers are those of a container image, the lowest first, in the files of the task.
type Layers struct {
	SHA256         []string // of each archive, as it is without its compression
	Bytes, Entries int64    // how much they may hold, all together
}

// Layering puts layers onto a root file system, one after the other. Each is read twice: it is
// what it should be before anything of it is put anywhere.
var Layering = sandbox.NewTask("layers", func(_ context.Context, in *sandbox.Inside, l Layers) (sandbox.None, error) {
	budget := tree.Budget{Bytes: l.Bytes, Entries: l.Entries}
	for i, f := range in.Files {
		var removals []tree.Removal
		sum := sha256.New()
		err := plain(f, func(r io.Reader) (err error) {
			removals, err = tree.ScanLayer(io.TeeReader(r, sum), &budget)
			return err
		})
		if err != nil {
			return false, err
		}
		if is := hex.EncodeToString(sum.Sum(nil)); is != l.SHA256[i] {
			return false, fmt.Errorf("layer %d has the SHA-256 %s, its image says %s", i+1, is, l.SHA256[i])
		}
		if err := tree.Remove(in.Roots[0], removals); err != nil {
			return false, err
		}
		if err := plain(f, func(r io.Reader) error { return tree.ReadLayer(in.Roots[0], r) }); err != nil {
			return false, err
		}
	}
	return false, nil
})

// plain reads a file from its beginning, without its compression.
func plain(f *os.File, read func(io.Reader) error) error {
	head, err := magic.Head(f)
	if err != nil {
		return err
	}
	in := io.Reader(bufio.NewReaderSize(io.NewSectionReader(f, 0, 1<<62), 1<<20))
	switch magic.Of(head) {
	case magic.Gzip:
		if in, err = gzip.NewReader(in); err != nil {
			return err
		}
	case magic.Zstd:
		d, err := zstd.NewReader(in)
		if err != nil {
			return err
		}
		defer d.Close()
		in = d
	}
	return read(in)
}
