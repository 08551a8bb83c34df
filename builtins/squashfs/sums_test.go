package squashfs_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/squashfs"
)

// What was read before saves reading, and changes nothing of the image; any change of a file
// is noticed.
func TestSums(t *testing.T) {
	dir := manyFiles(t)
	file := filepath.Join(dir, "d7/f3")
	acl := []byte("\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xe8\x03\x00\x00" +
		"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x04\x00\xff\xff\xff\xff")
	if err := errors.Join(unix.Setxattr(filepath.Join(dir, "d7/f4"), "user.kind", []byte("attribute"), 0), unix.Setxattr(filepath.Join(dir, "d7/f5"), "system.posix_acl_access", acl, 0)); err != nil {
		t.Skip("the file system of the tests has no attributes:", err)
	}
	options := func(sums ...[]byte) squashfs.Options {
		o := squashfs.Options{Compressor: compressor(t, "lz4", -1), BlockSize: 16 << 10}
		for _, s := range sums {
			o.Sums = append(o.Sums, bytes.NewReader(s))
		}
		return o
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	// What was changed just now is remembered by nobody.
	var sums []byte
	for young := -1; len(sums) != young || young < 40_000; {
		_, r := write(t, dir, options())
		young = len(sums)
		sums = sumsOf(t, r)
	}
	fresh, r := write(t, dir, options(sums))
	want := read(fresh)
	if again := sumsOf(t, r); !bytes.Equal(again, sums) {
		t.Error("the sums are others")
	}
	if r.LostCount != 1 {
		t.Errorf("%d files lose attributes, not 1", r.LostCount)
	}
	// A sum of something else tells that the file is not read for it: the block is compressed,
	// and its content is another one then.
	head := len("imagebuilder squashfs sums 1\n") + 4 + 4
	for _, at := range []int{head + 8 + 8 + 4, len(sums) - sha256.Size - 1} { // of the first piece, of the last block
		wrong := bytes.Clone(sums[:len(sums)-sha256.Size])
		wrong[at] ^= 1
		sum := sha256.Sum256(wrong)
		if _, err := writeTo(t.Context(), filepath.Join(t.TempDir(), "image"), dir, options(append(wrong, sum[:]...))); !errors.Is(err, squashfs.ErrChanged) {
			t.Errorf("with a wrong sum at %d: %v", at, err)
		}
	}

	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	edited := bytes.ToUpper(read(file))
	if err := errors.Join(os.WriteFile(file, edited, 0o644), os.Chtimes(file, st.ModTime(), st.ModTime())); err != nil {
		t.Fatal(err)
	}
	other, _ := write(t, dir, options())
	if bytes.Equal(read(other), want) {
		t.Fatal("the edit changes nothing")
	}
	tests := []struct {
		summary  string
		sums     []byte
		complain bool
	}{
		{"those of before the edit", sums, false},
		{"none", nil, true},
		{"cut ones", sums[:len(sums)/2], true},
		{"changed ones", append(bytes.Clone(sums[:len(sums)-1]), sums[len(sums)-1]^1), true},
		{"those of other blocks", sumsOf(t, func() *squashfs.Result {
			o := options()
			o.BlockSize *= 2
			_, r := write(t, dir, o)
			return r
		}()), false},
	}
	for _, test := range tests {
		said := false
		o := options(test.sums)
		o.Damaged = func(error) { said = true }
		image, _ := write(t, dir, o)
		if !bytes.Equal(read(image), read(other)) {
			t.Errorf("%s: the image is another one", test.summary)
		}
		if said != test.complain {
			t.Errorf("%s: damage was said: %v", test.summary, said)
		}
	}
}

func sumsOf(t testing.TB, r *squashfs.Result) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := r.WriteSums(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
