package treetask

import (
	"bufio"
	"context"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
)

// How results of a store leave it and come from elsewhere: the first file of these tasks is the
// directory, the second what the archive is written to or read from.

// Archiving writes what an entry of a store holds as an archive.
var Archiving = sandbox.NewTask("archive", func(_ context.Context, in *sandbox.Inside, _ sandbox.None) (sandbox.None, error) {
	w := bufio.NewWriterSize(in.Files[1], 1<<20)
	if err := tree.WriteArchive(w, dirfd.New(in.Files[0], dirfd.InRoot)); err != nil {
		return false, err
	}
	return false, w.Flush()
})

// Filling makes what an entry of a store holds of an archive, in an empty directory.
var Filling = sandbox.NewTask("fill", func(_ context.Context, in *sandbox.Inside, _ sandbox.None) (sandbox.None, error) {
	return false, tree.FillLayer(dirfd.New(in.Files[0], dirfd.InRoot), bufio.NewReaderSize(in.Files[1], 1<<20))
})
