package pack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// archiveOf compresses content and returns the directory of the result, and what was said.
func archiveOf(t *testing.T, content []byte, level int, made ...string) (dir, log string) {
	t.Helper()
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("needs xz (package xz-utils)")
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, plainArchive), content, 0o600); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	j := Job{Dir: dir, Name: "rootfs.tar.xz", Log: slog.New(slog.NewTextHandler(&text, nil)), Explain: true,
		Made: func(file string) (list []Made) {
			for _, dir := range made {
				list = append(list, Made{Dir: dir, Use: func() { fmt.Fprintf(&text, "used %d of %s\n", len(list), file) }})
			}
			return list
		}}
	if err := j.compressArchive(context.Background(), Compression{"xz", level}, plainArchive, smallCuts); err != nil {
		t.Fatal(err)
	}
	return dir, text.String()
}

// packedIn returns the archive in a directory, after a look at whether that holds the content.
func packedIn(t *testing.T, dir string, content []byte) []byte {
	t.Helper()
	name := filepath.Join(dir, "rootfs.tar.xz")
	unpacked, err := exec.Command("xz", "-dc", name).Output()
	if err != nil || !bytes.Equal(unpacked, content) {
		t.Errorf("the archive does not hold what was packed: %d bytes of %d, %v", len(unpacked), len(content), err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Whatever of an archive was made before, the archive is the same.
func TestArchiveOfBlocks(t *testing.T) {
	old := noise(1, 2<<20)
	first, _ := archiveOf(t, old, 0)
	want := packedIn(t, first, old)
	tests := []struct {
		summary string
		content []byte
		level   int
		change  func(t *testing.T, dir string) // of what was made before
		used    bool
		log     string // is said
	}{
		{"nothing", nil, 0, nil, false, "0 of 0 blocks were new, 0 B of 0 B"},
		{"a few bytes", []byte("a few bytes"), 0, nil, false, "1 of 1 blocks were new"},
		{"the same again", old, 0, nil, true, ": 0 of "},
		{"a changed byte", join(old[:1<<20], []byte{1}, old[1<<20+1:]), 0, nil, true, ": 1 of "},
		{"something at the beginning", join([]byte("new"), old), 0, nil, true, "blocks were new"},
		{"what comes twice", join(old[:1<<20], make([]byte, 3*smallCuts.max), old[1<<20:]), 0, nil, true, "blocks were new"},
		{"another level", old[:smallCuts.min], 1, nil, false, "1 of 1 blocks were new"},
		{"the highest level", old[:smallCuts.min], 9, nil, false, "1 of 1 blocks were new"},
		{"a damaged archive", old, 0, func(t *testing.T, dir string) {
			f, err := os.OpenFile(filepath.Join(dir, "rootfs.tar.xz"), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte("damaged"), 100); err != nil {
				t.Fatal(err)
			}
		}, false, "a block is not what was written"},
		{"one that was cut", old, 0, func(t *testing.T, dir string) {
			name := filepath.Join(dir, "rootfs.tar.xz")
			st, err := os.Stat(name)
			if err == nil {
				err = os.Truncate(name, st.Size()-1000)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, true, "a damaged archive of the cache"},
		{"one that is gone", old, 0, func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "rootfs.tar.xz")); err != nil {
				t.Fatal(err)
			}
		}, false, "no such file"},
		{"a damaged index", old, 0, func(t *testing.T, dir string) {
			name := filepath.Join(dir, ArchiveBlocks)
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, bytes.Replace(data, []byte(`"at":12`), []byte(`"at":16`), 1), 0o644); err != nil {
				t.Fatal(err)
			}
		}, false, "its index is damaged"},
		{"no index", old, 0, func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, ArchiveBlocks)); err != nil {
				t.Fatal(err)
			}
		}, false, "blocks were new, 2.0 MiB of 2.0 MiB"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			before := filepath.Join(t.TempDir(), "before")
			if err := os.CopyFS(before, os.DirFS(first)); err != nil {
				t.Fatal(err)
			}
			if test.change != nil {
				test.change(t, before)
			}
			dir, log := archiveOf(t, test.content, test.level, before)
			if used := strings.Contains(log, "used"); used != test.used || !strings.Contains(log, test.log) {
				t.Errorf("used: %v, want %v; it says\n%s\nwant %s", used, test.used, log, test.log)
			}
			got := packedIn(t, dir, test.content)
			if test.level == 0 && bytes.Equal(test.content, old) {
				if !bytes.Equal(got, want) {
					t.Errorf("the archive has other bytes than one that nothing is known of")
				}
				return
			}
			alone, _ := archiveOf(t, test.content, test.level)
			if alone, err := os.ReadFile(filepath.Join(alone, "rootfs.tar.xz")); err != nil || !bytes.Equal(got, alone) {
				t.Errorf("the archive has other bytes than one that nothing is known of: %v", err)
			}
			again, log := archiveOf(t, test.content, test.level, dir)
			if !strings.Contains(log, ": 0 of ") || !bytes.Equal(packedIn(t, again, test.content), got) {
				t.Errorf("its own index is of no use: %s", log)
			}
		})
	}
}

func FuzzArchiveIndex(f *testing.F) {
	sealed := func(text string) []byte { return fmt.Appendf(nil, "%s\n%x\n", text, sha256.Sum256([]byte(text))) }
	for _, text := range []string{
		"", "null", "{}", `{"file": "../x"}`, `{"magic": "imagebuilder archive blocks 1", "file": "x", "blocks": [{"at": -1}]}`,
		`{"magic": "imagebuilder archive blocks 2", "file": "x", "blocks": [{"at": 1, "length": 2}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := parseArchiveIndex(text); err == nil {
			if _, again := parseArchiveIndex(append(text, 'x')); again == nil {
				t.Error("what stands behind the index counts for nothing")
			}
		}
		x, err := parseArchiveIndex(sealed(strings.ReplaceAll(string(text), "\n", " ")))
		if err != nil {
			return
		}
		if strings.Contains(x.File, "/") || x.Magic != archiveMagic && len(x.Blocks) > 0 {
			t.Errorf("%+v", x)
		}
		for _, b := range x.Blocks {
			if b.At < 0 || b.Length < 0 || b.Record.Unpadded > b.Length {
				t.Errorf("a block of %d bytes at %d", b.Length, b.At)
			}
		}
	})
}
