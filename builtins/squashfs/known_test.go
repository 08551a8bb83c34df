package squashfs_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/squashfs"
)

// What is known of images made before changes how long a pack takes, and nothing of the
// image, whatever state they are in.
func TestKnownBlocksChangeNothing(t *testing.T) {
	dir := manyFiles(t)
	options := func(known ...*squashfs.Made) squashfs.Options {
		c, err := squashfs.NewCompressor("xz", 1, host.Program{})
		if err != nil {
			t.Fatal(err)
		}
		return squashfs.Options{Compressor: c, BlockSize: 128 << 10, Known: known}
	}
	before, first := write(t, dir, options())
	if first.New != first.Blocks || first.New < 20 {
		t.Fatalf("%d of %d blocks are new", first.New, first.Blocks)
	}
	index := indexOf(t, first)

	if err := os.WriteFile(filepath.Join(dir, "d7/f3"), []byte("edited"), 0o644); err != nil {
		t.Fatal(err)
	}
	image, edited := write(t, dir, options())
	want, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(before)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		summary  string
		known    func() []*squashfs.Made
		new      int // blocks, at most
		complain string
	}{
		{"the image before", func() []*squashfs.Made { return []*squashfs.Made{made(old, index)} }, 2, ""},
		{"the very image", func() []*squashfs.Made { return []*squashfs.Made{made(want, indexOf(t, edited)), made(old, index)} }, 0, ""},
		{"a damaged image", func() []*squashfs.Made {
			damaged := bytes.Clone(old)
			for i := 5000; i < len(damaged); i += 5000 {
				damaged[i] ^= 1
			}
			return []*squashfs.Made{made(damaged, index)}
		}, first.Blocks, "cannot use a block of an image: it is not what was written"},
		{"one cut short", func() []*squashfs.Made { return []*squashfs.Made{made(old[:len(old)/2], index)} }, first.Blocks, "cannot use a block of an image: EOF"},
		{"a damaged index", func() []*squashfs.Made {
			damaged := bytes.Clone(index)
			damaged[len(damaged)/2] ^= 1
			return []*squashfs.Made{made(old, damaged)}
		}, first.Blocks, "cannot use the blocks of an image: its index is damaged"},
		{"no index", func() []*squashfs.Made { return []*squashfs.Made{made(old, nil)} }, first.Blocks, "its index is damaged"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			var said []string
			o := options(test.known()...)
			o.Damaged = func(err error) { said = append(said, err.Error()) }
			image, r := write(t, dir, o)
			got, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Error("the image is another one")
			}
			if r.New > test.new {
				t.Errorf("%d of %d blocks are new, and not %d at most", r.New, r.Blocks, test.new)
			}
			if all := strings.Join(said, "\n"); (test.complain == "") != (all == "") || !strings.Contains(all, test.complain) {
				t.Errorf("said was %q, not %q", all, test.complain)
			}
			if a, b := indexOf(t, r), indexOf(t, edited); !bytes.Equal(a, b) {
				t.Error("the index is another one")
			}
		})
	}
}

// Blocks made in another way are none of this image.
func TestOtherParametersAreNotKnown(t *testing.T) {
	dir := manyFiles(t)
	image, first := write(t, dir, squashfs.Options{Compressor: compressor(t, "gzip", 9), BlockSize: 128 << 10})
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []squashfs.Options{
		{Compressor: compressor(t, "gzip", 1), BlockSize: 128 << 10}, {Compressor: compressor(t, "gzip", 9), BlockSize: 64 << 10},
		{Compressor: compressor(t, "lz4", -1), BlockSize: 128 << 10},
	} {
		o.Known = []*squashfs.Made{made(data, indexOf(t, first))}
		if _, r := write(t, dir, o); r.New != r.Blocks {
			t.Errorf("%d of %d blocks are new", r.New, r.Blocks)
		}
	}
}

func compressor(t testing.TB, method string, level int) squashfs.Compressor {
	t.Helper()
	c, err := squashfs.NewCompressor(method, level, host.Program{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func made(image, index []byte) *squashfs.Made {
	return &squashfs.Made{Name: "an image", Image: bytes.NewReader(image), Index: bytes.NewReader(index)}
}

func indexOf(t testing.TB, r *squashfs.Result) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := r.WriteIndex(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// manyFiles makes a tree of files of several days.
func manyFiles(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for d := range 40 {
		sub := filepath.Join(dir, fmt.Sprintf("d%d", d))
		if err := os.Mkdir(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		for f := range 30 {
			name := filepath.Join(sub, fmt.Sprintf("f%d", f))
			var text bytes.Buffer
			for line := range 40 * (f + 1) {
				fmt.Fprintf(&text, "%d %d %x\n", d, f, uint32((line+d*7919+f*104729))*2654435761)
			}
			if err := os.WriteFile(name, text.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			when := time.Unix(int64(d/3)*86400*11, 0)
			if err := os.Chtimes(name, when, when); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "large"), bytes.Repeat([]byte("0123456789abcdef"), 100000), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What changes while it is read is an error that names it, and so is what cannot be held.
func TestWhatCannotBePacked(t *testing.T) {
	tests := []struct {
		summary string
		prepare func(dir string) error
		during  func(dir string) error // once all is read for the first time
		err     string
	}{
		{summary: "a file that shrinks", during: func(dir string) error { return os.Truncate(filepath.Join(dir, "large"), 1000) },
			err: "cannot read /large: it was changed while it was read"},
		{summary: "a file that grows", during: func(dir string) error { return os.Truncate(filepath.Join(dir, "d1/f1"), 50000) },
			err: "cannot read /d1/f1: it was changed while it was read"},
		{summary: "other content", during: func(dir string) error {
			data := bytes.Repeat([]byte("f"), 100000*16)
			return os.WriteFile(filepath.Join(dir, "large"), data, 0o644)
		}, err: "cannot pack /large: it was changed while it was read"},
		{summary: "a file that goes", during: func(dir string) error { return os.Remove(filepath.Join(dir, "large")) },
			err: "cannot read /large: no such file or directory"},
		{summary: "a link in place of a directory", during: func(dir string) error {
			return os.Rename(filepath.Join(dir, "d1"), filepath.Join(dir, "d1 moved"))
		}, err: "/d1/f"},
		{summary: "a file too large", prepare: func(dir string) error { return os.Truncate(filepath.Join(dir, "large"), 1<<42) },
			err: "cannot read /large: it has 4398046511104 bytes, and squashfs holds no more than 2199023255552 in blocks of 131072"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			dir := manyFiles(t)
			if test.prepare != nil {
				if err := test.prepare(dir); err != nil {
					t.Fatal(err)
				}
			}
			done := false
			o := squashfs.Options{Compressor: compressor(t, "gzip", 1), BlockSize: 128 << 10}
			o.Progress = func(p squashfs.Progress) {
				if p.Hashed == p.ToHash && !done && test.during != nil {
					done = true
					if err := test.during(dir); err != nil {
						t.Error(err)
					}
				}
			}
			_, err := writeTo(t.Context(), filepath.Join(t.TempDir(), "image"), dir, o)
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("the error is %v, not %s", err, test.err)
			}
		})
	}
}

// A compressor that fails is named, and its error is not that of the files.
func TestCompressorFails(t *testing.T) {
	dir := manyFiles(t)
	for script, want := range map[string]string{
		"exit 3": "cannot ask the compressor for its version: xz --version: exit status 3",
		`case $* in *version*) echo 1 ;; *) head -c 100000 | xz -T2 --check=crc32 ;; esac`:               "cannot compress by xz: its output",
		`case $* in *version*) echo 1 ;; *) cat >/dev/null; echo damaged beyond all recognition ;; esac`: "cannot compress by xz: its output does not begin as asked for",
		`case $* in *version*) echo 1 ;; *) kill -9 $$ ;; esac`:                                          "signal: killed",
	} {
		name := filepath.Join(t.TempDir(), "xz")
		if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		c, err := squashfs.NewCompressor("xz", -1, host.Program{Path: name})
		if err != nil {
			t.Fatal(err)
		}
		_, err = writeTo(t.Context(), filepath.Join(t.TempDir(), "image"), dir, squashfs.Options{Compressor: c})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, not %s", script, err, want)
		}
	}
}
