package library

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// archive returns a tar archive of members.
func archive(t *testing.T, members ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range members {
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(h.Name))
		}
		if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o600
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(h.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpack(t *testing.T) {
	small := bounds{size: 300, entries: 5}
	dir := tar.Header{Name: "x-1/", Typeflag: tar.TypeDir, Mode: 0o700}
	file, program := tar.Header{Name: "x-1/lib/a.star"}, tar.Header{Name: "x-1/run", Mode: 0o700}
	link := tar.Header{Name: "x-1/link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}
	for _, test := range []struct {
		summary, prefix string
		data            []byte
		want            []string // "NAME MODE"
		left            string
		err             string
	}{
		{"an archive", "", archive(t, dir, file, program), []string{"x-1/lib/a.star 0644", "x-1/run 0755"}, "", ""},
		{"one of a release", "x-1", zipped(t, archive(t, dir, file)), []string{"lib/a.star 0644"}, "", ""},
		{"one of git", "", archive(t, tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "0a"}}, tar.Header{Name: "./a.star"}),
			[]string{"a.star 0644"}, "", ""},
		{"links and devices", "x-1", archive(t, file, link, tar.Header{Name: "x-1/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}),
			[]string{"lib/a.star 0644"}, "link,null", ""},
		{"a file behind a link", "x-1", archive(t, link, tar.Header{Name: "x-1/link/passwd"}), []string{"link/passwd 0644"}, "link", ""},
		{"a name that leads out", "", archive(t, tar.Header{Name: "../a.star"}), nil, "", `the name "../a.star" leads out of it`},
		{"one in the middle", "x", archive(t, tar.Header{Name: "x/../../a.star"}), nil, "", `the name "x/../../a.star" leads out of it`},
		{"an absolute name", "", archive(t, tar.Header{Name: "/a.star"}), nil, "", `the name "/a.star" leads out of it`},
		{"a file twice", "", archive(t, file, file), nil, "", "cannot unpack x-1/lib/a.star: it is there twice"},
		{"a file in a file", "", archive(t, file, tar.Header{Name: "x-1/lib/a.star/b"}), nil, "", "cannot unpack x-1/lib/a.star/b"},
		{"another prefix", "x-2", archive(t, file), nil, "", "it has no directory x-2, which prefix= names"},
		{"many files", "", archive(t, dir, dir, dir, dir, dir, dir), nil, "", "it has more than 5 files"},
		{"a large file", "", archive(t, tar.Header{Name: strings.Repeat("b", 200)}, tar.Header{Name: strings.Repeat("c", 200)}), nil, "", "it is larger than"},
		{"a bomb", "", zipped(t, append(archive(t, file), make([]byte, 1<<20)...)), []string{"x-1/lib/a.star 0644"}, "", ""}, // nothing reads on
		{"a bomb in headers", "", zipped(t, archive(t, tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": strings.Repeat("x", 1<<14)}}, file)), nil, "", "it is larger than"},
		{"a bomb of nothing", "", zipped(t, make([]byte, 1<<20)), nil, "", "no tar archive"},
		{"a cut one", "", archive(t, file)[:520], nil, "", "cannot unpack"},
		{"nothing", "", nil, nil, "", "it is no tar archive, which may be compressed"},
		{"something else", "", bytes.Repeat([]byte("<html>"), 200), nil, "", "it is no tar archive, which may be compressed"},
		{"half of a compressed one", "", zipped(t, archive(t, file))[:40], nil, "", "it "},
	} {
		t.Run(test.summary, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "archive")
			if err := os.WriteFile(name, test.data, 0o600); err != nil {
				t.Fatal(err)
			}
			above := t.TempDir()
			to := filepath.Join(above, "to")
			if err := os.Mkdir(to, 0o700); err != nil {
				t.Fatal(err)
			}
			left, err := small.unpackTo(t.Context(), name, test.prefix, to)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Fatalf("%v, want %q", err, test.err)
			}
			if names, err := os.ReadDir(above); err != nil || len(names) != 1 {
				t.Errorf("beside the library is %v: %v", names, err)
			}
			if test.err != "" {
				return
			}
			var got []string
			filepath.Walk(to, func(path string, info os.FileInfo, err error) error {
				if rel, _ := filepath.Rel(to, path); err == nil && !info.IsDir() {
					got = append(got, fmt.Sprintf("%s %04o", rel, info.Mode().Perm()))
				}
				return err
			})
			if !slices.Equal(got, test.want) || strings.Join(left, ",") != test.left {
				t.Errorf("got %q, and %q left out", got, left)
			}
		})
	}
}

func TestCommonDirectory(t *testing.T) {
	dir := tar.Header{Name: "x-1/", Typeflag: tar.TypeDir}
	for _, test := range []struct {
		summary string
		members []tar.Header
		want    string
	}{
		{"a release", []tar.Header{dir, {Name: "x-1/a.star"}}, "x-1"},
		{"one without directories", []tar.Header{{Name: "x-1/a.star"}, {Name: "x-1/b/c.star"}}, "x-1"},
		{"two", []tar.Header{{Name: "x-1/a.star"}, {Name: "x-2/a.star"}}, ""},
		{"a file beside", []tar.Header{dir, {Name: "x-1/a.star"}, {Name: "b.star"}}, ""},
		{"a file first", []tar.Header{{Name: "b.star"}, dir}, ""},
	} {
		name := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(name, archive(t, test.members...), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := usual.commonDirectory(t.Context(), name); got != test.want || err != nil {
			t.Errorf("%s: %q, want %q: %v", test.summary, got, test.want, err)
		}
	}
}

// Whatever the bytes of an archive are, nothing comes of them outside of the directory, and in
// it no links or devices.
func FuzzUnpack(f *testing.F) {
	var t testing.T
	f.Add(archive(&t, tar.Header{Name: "x/a.star"}, tar.Header{Name: "x/l", Typeflag: tar.TypeSymlink, Linkname: ".."}), "x")
	f.Add(zipped(&t, archive(&t, tar.Header{Name: "../a.star"})), "")
	f.Fuzz(func(t *testing.T, data []byte, prefix string) {
		if checkPrefix(Pin{Prefix: prefix}) != nil {
			return
		}
		above := t.TempDir()
		name, to := filepath.Join(above, "archive"), filepath.Join(above, "to")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(to, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := bounds{1 << 16, 100}.unpackTo(t.Context(), name, prefix, to)
		if names, err := os.ReadDir(above); err != nil || len(names) != 2 {
			t.Fatalf("beside the library is %v: %v", names, err)
		}
		if _, serr := Sum(os.DirFS(to)); serr != nil && err == nil {
			t.Fatal(serr)
		}
	})
}

// The digest is of names, contents and which files are programs, of nothing else.
func TestSum(t *testing.T) {
	digestOf := func(change func(dir string) error) string {
		dir := t.TempDir()
		for _, err := range []error{
			os.MkdirAll(filepath.Join(dir, "lib"), 0o755), os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o644),
			os.WriteFile(filepath.Join(dir, "lib/b"), []byte("b"), 0o644), change(dir),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		got, err := Sum(os.DirFS(dir))
		if err != nil {
			return err.Error()
		}
		return got
	}
	same := digestOf(func(string) error { return nil })
	for _, test := range []struct {
		summary string
		change  func(dir string) error
		same    bool
	}{
		{"another mode", func(dir string) error { return os.Chmod(filepath.Join(dir, "a"), 0o600) }, true},
		{"an empty directory", func(dir string) error { return os.Mkdir(filepath.Join(dir, "c"), 0o755) }, true},
		{"a program", func(dir string) error { return os.Chmod(filepath.Join(dir, "a"), 0o755) }, false},
		{"another content", func(dir string) error { return os.WriteFile(filepath.Join(dir, "a"), []byte("b"), 0o644) }, false},
		{"another name", func(dir string) error { return os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")) }, false},
		{"a missing file", func(dir string) error { return os.Remove(filepath.Join(dir, "lib/b")) }, false},
		{"a link", func(dir string) error { return os.Symlink("a", filepath.Join(dir, "c")) }, false},
	} {
		if got := digestOf(test.change); (got == same) != test.same {
			t.Errorf("%s: the digest is %s, was %s", test.summary, got, same)
		}
	}
}
