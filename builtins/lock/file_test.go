package lock_test

import (
	"bytes"
	"strings"
	"testing"

	"imagebuilder/builtins/lock"
)

const (
	one = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	two = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

// whole has a line of each kind, as it is written.
const whole = `imagebuilder lock 1
epoch 1795432957
file ` + one + ` 8700 /usr/share/keyrings/archive%20keyring.gpg
get ` + two + ` 151075 http://archive.example/debian/dists/bookworm/InRelease
get ` + one + ` 1372852 http://archive.example/debian/pool/main/a/apt/apt_2.6.1_amd64.deb
gone http://archive.example/debian/dists/bookworm/main/i18n/Translation-de.xz
head - https://archive.example/latest.iso
mirror http://archive.example/debian http://snapshot.example/archive/debian/20261123T112237Z
moved https://archive.example/latest.iso https://archive.example/1.2.iso
result ` + one + ` rootfs.squashfs compression=zstd-1 release=bookworm
tool mksquashfs mksquashfs version 4.5.1 (2022/03/17)
`

func TestParse(t *testing.T) {
	lines := strings.SplitAfter(whole, "\n")
	backwards := lines[0]
	for i := len(lines) - 1; i > 0; i-- {
		backwards += lines[i]
	}
	tests := []struct{ summary, text, want, err string }{
		{"all kinds of lines", whole, whole, ""},
		{"in any order, as a merge may leave them", backwards, whole, ""},
		{"the same line of two branches", whole + lines[3], whole, ""},
		{"epochs of two branches", "imagebuilder lock 1\nepoch 99\nepoch 100\n", "imagebuilder lock 1\nepoch 100\n", ""},
		{"no line at its end", strings.TrimSuffix(whole, "\n"), whole, ""},
		{"nothing", "imagebuilder lock 1", "imagebuilder lock 1\n", ""},
		{"another format", "imagebuilder lock 2\nget x\n", "", "my.lock:1: its format is 2, this version of imagebuilder knows 1: take the one that has written it, or lock anew with --update"},
		{"no lock", "acme url=x\n", "", `my.lock:1: this is no lock: its first line is not "imagebuilder lock 1"`},
		{"an empty file", "", "", `my.lock:1: this is no lock: its first line is not "imagebuilder lock 1"`},
		{"an unknown word", "imagebuilder lock 1\nput x\n", "", `my.lock:2: no line of a lock begins with "put"`},
		{"marks of a conflict", "imagebuilder lock 1\n<<<<<<< HEAD\n", "", `my.lock:2: no line of a lock begins with "<<<<<<<"`},
		{"no size", "imagebuilder lock 1\nget " + one + " http://a/b\n", "", `my.lock:2: want get sha256:DIGEST SIZE URL, not "get ` + one + ` http://a/b"`},
		{"a short digest", "imagebuilder lock 1\nget sha256:11 5 http://a/b\n", "", `my.lock:2: not a digest, as sha256:DIGITS: "sha256:11"`},
		{"a size that is none", "imagebuilder lock 1\nget " + one + " 05 http://a/b\n", "", `my.lock:2: not a number: "05"`},
		{"a URL in two states", "imagebuilder lock 1\nget " + one + " 5 http://a/b\n\nget " + two + " 5 http://a/b\n", "",
			"my.lock:4: line 2 says something else of http://a/b: two branches have seen different states of it; lock anew with --update"},
		{"a URL that is there and is not", "imagebuilder lock 1\ngone http://a/b\nget " + two + " 5 http://a/b\n", "",
			"my.lock:3: line 2 says something else of http://a/b: two branches have seen different states of it; lock anew with --update"},
		{"bytes that a terminal takes for orders", "imagebuilder lock 1\ngone http://a/\x1b[31m\n", "", `my.lock:2: it has bytes that cannot be printed: "gone http://a/\x1b[31m"`},
	}
	for _, test := range tests {
		f, err := lock.Parse("my.lock", []byte(test.text))
		switch {
		case err != nil && err.Error() != test.err:
			t.Errorf("%s: error %q, want %q", test.summary, err, test.err)
		case err == nil && (test.err != "" || string(f.Bytes()) != test.want):
			t.Errorf("%s: got\n%swant\n%s%s", test.summary, f.Bytes(), test.want, test.err)
		}
	}
}

// What two branches have locked is, line by line, what either has, unless they contradict each
// other.
func FuzzMerge(f *testing.F) {
	f.Add([]byte(whole), []byte("imagebuilder lock 1\nepoch 1795432958\nget "+one+" 5 http://a/b\n"))
	f.Add([]byte("imagebuilder lock 1\nget "+one+" 5 http://a/b\n"), []byte("imagebuilder lock 1\nget "+two+" 5 http://a/b\n"))
	f.Add([]byte("imagebuilder lock 1\ngone http://a/b\n"), []byte("imagebuilder lock 1\nhead - http://a/b\n"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var texts [2][]byte
		lines := make(map[string]bool)
		for i, data := range [][]byte{a, b} {
			file, err := lock.Parse("fuzz.lock", data)
			if err != nil {
				return
			}
			texts[i] = file.Bytes()
			for line := range strings.Lines(string(texts[i])) {
				lines[line] = true
			}
		}
		_, rest, _ := bytes.Cut(texts[1], []byte("\n"))
		merged, err := lock.Parse("fuzz.lock", append(bytes.Clone(texts[0]), rest...))
		if err != nil {
			if !strings.Contains(err.Error(), "two branches have seen different states of it") {
				t.Fatalf("%v\n%s\n%s", err, texts[0], texts[1])
			}
			return
		}
		for line := range strings.Lines(string(merged.Bytes())) {
			if !lines[line] {
				t.Errorf("nobody has locked %q", line)
			}
			delete(lines, line)
		}
		for line := range lines {
			if !strings.HasPrefix(line, "epoch ") { // the newer one holds
				t.Errorf("%q is lost", line)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("imagebuilder lock 1\nepoch 1\nepoch 22\n\r\nresult x y\ntool a b c\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := lock.Parse("fuzz.lock", data)
		if err != nil {
			return
		}
		text := first.Bytes()
		again, err := lock.Parse("fuzz.lock", text)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%q", err, text)
		}
		if !bytes.Equal(again.Bytes(), text) {
			t.Fatalf("it changes when it is read and written:\n%q\n%q", text, again.Bytes())
		}
	})
}
