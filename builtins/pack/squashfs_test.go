package pack

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/squashfs"
)

// Where what was read for an image before is wrong, the image is what the tree is now.
func TestWrongSums(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := dirfd.Open(dir, dirfd.InRoot)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c, err := squashfs.NewCompressor("none", -1, host.Program{})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "image")
	write := func(sums []byte) (image, read []byte) {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		o := squashfs.Options{Compressor: c}
		if sums != nil {
			o.Sums = append(o.Sums, bytes.NewReader(sums))
			if _, err := squashfs.Write(t.Context(), f, root, o); !errors.Is(err, squashfs.ErrChanged) {
				t.Fatalf("the sums are not wrong: %v", err)
			}
			o.Sums[0] = bytes.NewReader(sums)
		}
		result, err := writeSquashfs(t.Context(), f, root, o)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := result.WriteSums(&text); err != nil {
			t.Fatal(err)
		}
		if image, err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
		return image, text.Bytes()
	}
	want, none := write(nil)
	sums := none
	for len(sums) == len(none) { // what was written just now is not remembered
		_, sums = write(nil)
	}
	wrong := bytes.Clone(sums[:len(sums)-sha256.Size])
	wrong[len(wrong)-1] ^= 1 // of the sum of the file
	sum := sha256.Sum256(wrong)
	if got, _ := write(append(wrong, sum[:]...)); !bytes.Equal(got, want) {
		t.Error("the image is another one")
	}
}
