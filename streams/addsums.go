package streams

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/unpack"
	"imagebuilder/streams/inventory"
)

// A directory with an image may say which hashes its files have. The version gets hashes of
// what was read, so whatever was damaged on the way here has to be found before that.

// sumsIn returns the hashes that a directory says its files have. What a build would not
// list for want of a file is not added either.
func sumsIn(dir string, names []string) (map[string]digest.Digest, error) {
	sums, err := readSums(dir)
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		if inventory.Classify(name, false).IsRootfs() && !slices.Contains(names, filepath.Join(dir, name)) {
			return nil, fmt.Errorf("%s lists %s, which is not there: it is not complete", filepath.Join(dir, inventory.SumsName), name)
		}
	}
	return sums, err
}

func readSums(dir string) (map[string]digest.Digest, error) {
	const most = 1 << 20
	f, err := os.OpenFile(filepath.Join(dir, inventory.SumsName), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most))
	return digest.ParseSums(data), err
}

// checkSums compares the files with the hashes that came with them. Most were just hashed
// in the version.
func (a *adder) checkSums(ctx context.Context, v *inventory.FoundVersion) error {
	for _, s := range a.sources {
		if s.sum == nil {
			continue
		}
		var sum digest.Digest
		i := slices.IndexFunc(v.Files, func(f inventory.FoundFile) bool { return f.Name == s.as && f.Hashed })
		if i >= 0 && !s.unified() {
			sum = v.Files[i].Sum
		} else {
			var err error
			if sum, _, err = digest.Reader(unpack.UntilDone(ctx, io.NewSectionReader(s.file, 0, math.MaxInt64))); err != nil {
				return err
			}
		}
		if sum != *s.sum {
			return fmt.Errorf("%s is damaged: its SHA-256 is %s, and %s beside it says %s", s.file.Name(), sum, inventory.SumsName, s.sum)
		}
	}
	return nil
}
