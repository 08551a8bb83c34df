package unpack

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestDetectAndUnpack(t *testing.T) {
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree/top")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tree+"/file", []byte(strings.Repeat("content", 100)), 0o640); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, make string
		tools      []string
	}{
		{"tar", "tar -C tree -cf archive .", nil},
		{"tar.gz", "tar -C tree -czf archive .", []string{"gzip"}},
		{"tar.bz2", "tar -C tree -cjf archive .", []string{"bzip2"}},
		{"tar.xz", "tar -C tree -cJf archive .", []string{"xz"}},
		{"tar.lzma", "tar -C tree -cf - . | lzma >archive", []string{"lzma"}},
		{"tar.zst", "tar -C tree --zstd -cf archive .", []string{"zstd"}},
		{"tar.lz", "tar -C tree --lzip -cf archive .", []string{"lzip"}},
		{"tar.lzo", "tar -C tree --lzop -cf archive .", []string{"lzop"}},
		{"tar.lz4", "tar -C tree -I lz4 -cf archive .", []string{"lz4"}},
		{"squashfs", "mksquashfs tree archive -noappend -quiet", []string{"mksquashfs", "unsquashfs"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, tool := range test.tools {
				if _, err := exec.LookPath(tool); err != nil {
					t.Skipf("needs %s", tool)
				}
			}
			run(t, dir, "sh", "-c", test.make)
			format, err := Detect(dir + "/archive")
			if err != nil || format.Name != test.name {
				t.Fatalf("detected %q, %v", format.Name, err)
			}
			out := t.TempDir()
			command, err := format.Command(dir+"/archive", out, 0)
			if err != nil {
				t.Fatal(err)
			}
			run(t, dir, command[0], command[1:]...)
			if st, err := os.Stat(out + "/top/file"); err != nil || st.Size() != 700 || st.Mode().Perm() != 0o640 {
				t.Errorf("%v, %v", st, err)
			}
		})
	}
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

func TestDetectErrors(t *testing.T) {
	for head, want := range map[string]string{
		"":             "it is neither a tar archive nor a squashfs image: it begins with ",
		"PK\x03\x04":   "it is neither a tar archive nor a squashfs image: it begins with 50 4b 03 04",
		"QFI\xfb\x00":  "it is a qcow2 disk image, not an archive of files",
		"<html>\n<bod": "it is neither a tar archive nor a squashfs image: it begins with 3c 68 74 6d 6c 3e 0a 3c",
	} {
		if _, err := detect([]byte(head)); err == nil || err.Error() != want {
			t.Errorf("%q: %v", head, err)
		}
	}
	if _, err := (Format{Name: "squashfs"}).Command("f", "d", 1); err == nil {
		t.Error("stripping a squashfs image is no error")
	}
}

func FuzzDetect(f *testing.F) {
	f.Add([]byte("hsqs"))
	f.Add(append(make([]byte, 257), "ustar"...))
	f.Fuzz(func(t *testing.T, head []byte) {
		format, err := detect(head)
		if err == nil && len(format.Programs()) == 0 {
			t.Errorf("%q has no program", format.Name)
		}
	})
}
