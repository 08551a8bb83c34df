package unpack

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/magic"
)

// makers are how each format is made of the directory tree, and the programs of that.
var makers = []struct {
	want, make string
	tools      []string
}{
	{"tar", "tar -C tree -cf archive .", nil},
	{"tar.gz", "tar -C tree -czf archive .", []string{"gzip"}},
	{"tar.gz", "tar -C tree -czf archive . && echo signature >>archive", []string{"gzip"}},
	{"tar.bz2", "tar -C tree -cjf archive .", []string{"bzip2"}},
	{"tar.xz", "tar -C tree -cJf archive .", []string{"xz"}},
	{"tar.lzma", "tar -C tree -cf - . | lzma >archive", []string{"lzma"}},
	{"tar.zst", "tar -C tree --zstd -cf archive .", []string{"zstd"}},
	{"tar.lz", "tar -C tree --lzip -cf archive .", []string{"lzip"}},
	{"tar.lzo", "tar -C tree --lzop -cf archive .", []string{"lzop"}},
	{"tar.lz4", "tar -C tree -I lz4 -cf archive .", []string{"lz4"}},
	{"cpio.lz", "cd tree && find . | cpio --quiet -o -H newc | lzip >../archive", []string{"cpio", "lzip", "bsdtar"}},
	{"cpio.lzo", "cd tree && find . | cpio --quiet -o -H newc | lzop >../archive", []string{"cpio", "lzop", "bsdtar"}},
	{"cpio.lz4", "cd tree && find . | cpio --quiet -o -H newc | lz4 >../archive", []string{"cpio", "lz4", "bsdtar"}},
	{"squashfs", "mksquashfs tree archive -noappend -quiet", []string{"mksquashfs", "unsquashfs"}},
	{"zip", "cd tree && zip -q -r -y ../archive.zip . && mv ../archive.zip ../archive", []string{"zip", "bsdtar"}},
	{"cpio", "cd tree && find . | cpio --quiet -o -H newc >../archive", []string{"cpio", "bsdtar"}},
	{"cpio", "cd tree && find . | cpio --quiet -o -H crc >../archive", []string{"cpio", "bsdtar"}},
	// Their numbers of inodes are short, and those of a directory and a file could come out the same.
	{"cpio", "cd tree && find . | cpio --quiet -o -H odc --renumber-inodes >../archive", []string{"cpio", "bsdtar"}},
	{"cpio", "cd tree && find . | cpio --quiet -o -H bin --renumber-inodes >../archive", []string{"cpio", "bsdtar"}},
	{"cpio.gz", "cd tree && find . | cpio --quiet -o -H newc | gzip >../archive", []string{"cpio", "gzip", "bsdtar"}},
	{"iso9660", "xorriso -as mkisofs -quiet -R -J -o archive tree", []string{"xorriso", "bsdtar"}},
	{"fat", "truncate -s 4M archive && mkfs.vfat archive >/dev/null && mcopy -s -i archive tree/top ::/", []string{"mkfs.vfat", "mcopy"}},
}

func TestDetectAndUnpack(t *testing.T) {
	dir := newTree(t)
	for _, test := range makers {
		t.Run(test.want, func(t *testing.T) {
			need(t, test.tools...)
			run(t, dir, "sh", "-c", "rm -f archive && "+test.make)
			for _, o := range []Options{{}, {Only: []string{"top/file", "not/there"}}, {Exclude: []string{"top/other"}}, {Strip: 1}} {
				unpackTo(t, dir+"/archive", test.want, o)
			}
		})
	}
}

// newTree returns a directory with the directory tree, of which archives are made.
func newTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree/top")
	if err := os.MkdirAll(tree+"/other/deep", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"file": 0o640, "other/deep/file": 0o644} {
		if err := os.WriteFile(filepath.Join(tree, name), []byte(strings.Repeat("content", 100)), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func unpackTo(t *testing.T, archive, want string, o Options) {
	t.Helper()
	format, err := Detect(archive)
	if err != nil || format.String() != want {
		t.Fatalf("detected %q, %v", format, err)
	}
	if format.FileSystem(o) != "" {
		return // that is mounted: see the scenario unpack_formats
	}
	out := t.TempDir()
	script, err := format.Script(Places{File: archive, Out: out}, o)
	if want == "fat" && o.filtered() {
		if err == nil {
			t.Error("something can be left out of a FAT file system")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	run(t, t.TempDir(), "bash", "-c", script)
	file := out + "/top/file"
	if o.Strip == 1 {
		file = out + "/file"
	}
	st, err := os.Stat(file)
	if err != nil || st.Size() != 700 || want != "fat" && st.Mode().Perm() != 0o640 {
		t.Errorf("%+v: %v, %v", o, st, err)
	}
	_, err = os.Stat(filepath.Join(filepath.Dir(file), "other/deep/file"))
	if filtered := len(o.Only)+len(o.Exclude) > 0; (err != nil) != filtered {
		t.Errorf("%+v: top/other/deep/file: %v", o, err)
	}
}

func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
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

// If nothing matches, that is an error, which names what was looked for.
// What goes wrong in a part of an archive is not taken for a pattern without a match, or for a
// name that is no UTF-8, which is kept as it is.
func TestFilteredTrouble(t *testing.T) {
	need(t, "bsdtar", "xz")
	name := "top/caf\xe9"
	tests := []struct {
		summary, make, err string
	}{
		{"as it should be", "cat tar | xz", ""},
		{"cut short", "cat tar | xz | head -c -40", "exit status 1"},
		{"cut short within", "head -c 12000 tar | xz", "exit status 1"},
		{"killed", "cat tar | xz", "exit status 137"},
	}
	dir := newTree(t)
	if err := os.WriteFile(filepath.Join(dir, "tree", name), bytes.Repeat([]byte("content"), 2000), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "sh", "-c", "tar -C tree --format=posix -cf tar top")
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			run(t, dir, "sh", "-c", test.make+" >archive")
			out := t.TempDir()
			script, err := Format{Kind: magic.Tar, Packed: magic.XZ}.Script(Places{File: dir + "/archive", Out: out}, Options{Exclude: []string{"top/other"}})
			if err != nil {
				t.Fatal(err)
			}
			if test.summary == "killed" {
				script = "bsdtar() { kill -9 $BASHPID; }\n" + script
			}
			log, err := exec.Command("bash", "-c", "export LC_ALL=C.UTF-8\n"+script).CombinedOutput()
			if err == nil && test.err != "" || err != nil && err.Error() != test.err {
				t.Fatalf("%v: %s", err, log)
			}
			if data, err := os.ReadFile(filepath.Join(out, name)); test.err == "" && (err != nil || len(data) != 14000) {
				t.Errorf("%d bytes, %v", len(data), err)
			}
		})
	}
}

func TestOnlyNothing(t *testing.T) {
	need(t, "bsdtar")
	dir := newTree(t)
	run(t, dir, "tar", "-C", "tree", "-cf", "archive", ".")
	script, err := Format{Kind: "tar"}.Script(Places{File: dir + "/archive", Out: t.TempDir()}, Options{Only: []string{"usr", "file"}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("bash", "-c", script).CombinedOutput()
	if err == nil || string(out) != "nothing in it matches usr file\n" {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestDetectErrors(t *testing.T) {
	const neither = "neither an archive nor an image of a file system that is known: it begins with "
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Write([]byte("text"))
	w.Close()
	for head, want := range map[string]string{
		"":                   "it is " + neither,
		"<html>\n<bod":       "it is " + neither + "3c 68 74 6d 6c 3e 0a 3c",
		packed.String():      "what is compressed in it is " + neither + "74 65 78 74",
		"\x1f\x8b\x08 short": "cannot read the beginning of what is compressed in it: unexpected EOF",
	} {
		if _, err := detect([]byte(head), strings.NewReader(head)); err == nil || err.Error() != want {
			t.Errorf("%q: %v", head, err)
		}
	}
}

func TestCheckQcow2(t *testing.T) {
	image := func(version byte, at int, b byte) []byte {
		head := make([]byte, 104)
		copy(head, "QFI\xfb\x00\x00\x00")
		head[7], head[at] = version, b
		return head
	}
	for summary, test := range map[string]struct {
		head []byte
		want string
	}{
		"whole":                       {image(3, 100, 0), ""},
		"with a backing file":         {image(2, 15, 0x68), "it is only the difference to another disk image"},
		"with its data elsewhere":     {image(3, 79, 4), "its data are in another file"},
		"old, with what only new has": {image(2, 79, 4), ""},
	} {
		err := CheckQcow2(bytes.NewReader(test.head))
		if got := text(err); got != test.want {
			t.Errorf("%s: %q", summary, got)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What overlayfs has noted of a layer is of the machine it was made on; other attributes are kept.
func TestAttributes(t *testing.T) {
	dir := newTree(t)
	for _, name := range []string{"trusted.kept", "trusted.overlay.opaque"} {
		if err := unix.Lsetxattr(dir+"/tree/top", name, []byte("y"), 0); err != nil {
			t.Skipf("needs to set %s: %v", name, err)
		}
	}
	run(t, dir, "tar", "-C", "tree", "--xattrs", "--xattrs-include=*", "-cf", "archive", ".")
	out := t.TempDir()
	script, err := Format{Kind: magic.Tar}.Script(Places{File: dir + "/archive", Out: out}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, "bash", "-c", script)
	names := make([]byte, 1000)
	n, err := unix.Llistxattr(out+"/top", names)
	if got := string(names[:max(n, 0)]); err != nil || got != "trusted.kept\x00" {
		t.Errorf("%q, %v", got, err)
	}
}

// Names are of any language, also those that are asked for.
func TestNames(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8") // of host.Environ
	dir := newTree(t)
	const name = "top/Főtanúsítvány, größer.crt"
	if err := os.WriteFile(filepath.Join(dir, "tree", name), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		want, make string
		tools      []string
	}{
		{"tar", "bsdtar -C tree --format=pax -cf archive .", []string{"bsdtar"}},
		{"zip", "bsdtar -C tree --format=zip -cf archive .", []string{"bsdtar"}},
		{"squashfs", "mksquashfs tree archive -noappend -quiet", []string{"mksquashfs", "unsquashfs"}},
		{"iso9660", "genisoimage -quiet -R -o archive tree", []string{"genisoimage", "bsdtar"}},
		{"iso9660", "genisoimage -quiet -J -o archive tree", []string{"genisoimage", "bsdtar"}}, // Joliet
		{"fat", "truncate -s 4M archive && mkfs.vfat archive >/dev/null && mcopy -s -i archive tree/top ::/", []string{"mkfs.vfat", "mcopy"}},
	} {
		t.Run(test.want, func(t *testing.T) {
			need(t, test.tools...)
			run(t, dir, "sh", "-c", "rm -f archive; export LC_ALL=C.UTF-8; "+test.make)
			format, err := Detect(dir + "/archive")
			if err != nil || format.String() != test.want {
				t.Fatalf("detected %q, %v", format, err)
			}
			for _, o := range []Options{{}, {Only: []string{name}}, {Exclude: []string{"top/file"}}} {
				if o.filtered() && (format.FileSystem(o) != "" || test.want == "fat") {
					continue
				}
				out := t.TempDir()
				script, err := format.Script(Places{File: dir + "/archive", Out: out}, o)
				if err != nil {
					t.Fatal(err)
				}
				run(t, dir, "bash", "-c", script)
				if _, err := os.Lstat(filepath.Join(out, name)); err != nil {
					t.Errorf("%+v: %v", o, err)
				}
			}
		})
	}
}
