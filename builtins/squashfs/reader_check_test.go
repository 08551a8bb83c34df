package squashfs_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/squashfs"
)

// No bit of an image can be another without our reader finding it, but for the time of
// making, which is of no file.
func TestReaderMissesNothing(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "a/b"), 0o755), os.WriteFile(filepath.Join(dir, "a/small"), []byte("small"), 0o644),
		os.WriteFile(filepath.Join(dir, "large"), append(bytes.Repeat([]byte("large"), 1000), make([]byte, 8192)...), 0o600),
		os.Link(filepath.Join(dir, "large"), filepath.Join(dir, "a/again")), os.Symlink("small", filepath.Join(dir, "a/link")),
		unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644), unix.Lsetxattr(dir, "user.one", []byte("1"), 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 60 { // enough for an index
		if err := os.WriteFile(filepath.Join(dir, "a/b", fmt.Sprintf("%03d%s", i, strings.Repeat("n", 150))), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	image, _ := write(t, dir, squashfs.Options{Compressor: compressor(t, "none", -1), BlockSize: 4096, Export: true})
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	want := readDump(t, image)
	for at := 0; at < len(data); at += 3 { // 3, as fields have 2, 4 or 8 bytes
		if at >= 8 && at < 12 || at >= 24 && at < 26 { // time, flags
			continue
		}
		other := bytes.Clone(data)
		other[at] ^= 1 << (at / 3 % 8)
		if m, err := parse(other); err == nil && m.dump() == want {
			t.Errorf("byte %d is %#x and could be %#x", at, data[at], other[at])
		}
	}
}

// A reader that finds fault with everything would find no fault of ours: what mksquashfs
// makes without what we never make passes as well.
func TestReaderTakesMksquashfs(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("file"), 0o644); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "image")
	if out, err := exec.Command("mksquashfs", dir, image, "-no-progress", "-no-exports", "-no-xattrs", "-noI", "-noD", "-noF", "-noId").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	same(t, "our own reader", dump(t, dir), readDump(t, image))
}
