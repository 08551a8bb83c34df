package library

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"

	"imagebuilder/builtins/digest"
)

// What the files of a library are known by, wherever they lie.

// sums are the digests of files by their paths; those of programs begin with "x".
type sums map[string]string

// sumsOf reads all files below a directory. Others than regular ones are an error.
func (b bounds) sumsOf(files fs.FS) (sums, error) {
	found := make(sums)
	var total int64
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is neither a directory nor a regular file", name)
		}
		if len(found) >= b.entries {
			return fmt.Errorf("it has more than %d files", b.entries)
		}
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		sum, size, err := digest.Reader(io.LimitReader(f, b.size-total+1))
		if total += size; total > b.size {
			return tooLarge(b.size)
		}
		found[name] = sum.String()
		if info.Mode()&0o100 != 0 {
			found[name] = "x" + found[name]
		}
		return err
	})
	return found, err
}

// digest is the digest of a list of all files, sorted.
func (s sums) digest() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(h, "%s %q\n", s[name], name)
	}
	return digest.Of(h).String()
}

// differences says in what files differ from those that are wanted.
func (s sums) differences(want sums) []string {
	var list []string
	names := maps.Clone(s)
	maps.Copy(names, want)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		got, there := s[name]
		wanted, expected := want[name]
		switch {
		case !there:
			list = append(list, name+" is missing")
		case !expected:
			list = append(list, name+" is not in the archive")
		case got != wanted:
			list = append(list, name+" was changed")
		}
	}
	return list
}

// Sum returns the digest of the files of a library: of their paths, contents, and which are
// programs. Links and devices are an error.
func Sum(files fs.FS) (string, error) {
	found, err := usual.sumsOf(files)
	return found.digest(), err
}
