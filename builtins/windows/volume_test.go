package windows

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"imagebuilder/builtins/dirfd"
)

const longName = "A Long.Mixed-Case_Name.with.many.dots, so long that Joliet has none like it.manifest"

// files are what the media of these tests have.
var files = map[string]string{
	"setup.exe":                "setup",
	"empty":                    "",
	"sources/install.wim":      strings.Repeat("0123456789abcdef", 1<<9),
	"sources/a/b/c/d/deep.txt": "deep",
	longName:                   "long",
}

// formats are how media are made, and in what they differ from what was put in.
var formats = []struct {
	summary string
	args    []string
	plain   bool // names have capitals and are cut
	more    map[string]string
}{
	{summary: "UDF", args: []string{"-udf", "-iso-level", "4", "-l"}},
	{summary: "UDF, all letters", args: []string{"-udf", "-iso-level", "3", "-input-charset", "utf-8"}, more: map[string]string{"Ünïcode 漢.txt": "x"}},
	{summary: "Joliet", args: []string{"-J", "-joliet-long"}},
	{summary: "Rock Ridge", args: []string{"-R"}},
	{summary: "Rock Ridge and Joliet", args: []string{"-R", "-J", "-joliet-long"}},
	{summary: "ISO 9660", args: []string{"-iso-level", "1"}, plain: true},
}

// makeMedium makes a medium of one of the formats.
func makeMedium(t testing.TB, args []string, more map[string]string) string {
	t.Helper()
	if _, err := exec.LookPath("genisoimage"); err != nil {
		t.Skip("needs genisoimage: apt-get install genisoimage")
	}
	dir := t.TempDir()
	for _, set := range []map[string]string{files, more} {
		for name, content := range set {
			name = filepath.Join(dir, "tree", name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	name := filepath.Join(dir, "medium.iso")
	args = append(append([]string{"-quiet", "-V", "LABEL"}, args...), "-o", name, filepath.Join(dir, "tree"))
	if out, err := exec.Command("genisoimage", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

func TestVolume(t *testing.T) {
	for _, test := range formats {
		t.Run(test.summary, func(t *testing.T) {
			v, err := OpenVolume(makeMedium(t, test.args, test.more))
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			if v.Label != "LABEL" {
				t.Errorf("the label is %q", v.Label)
			}
			if test.plain {
				name, err := Find(v, "sources/install.wim")
				if err != nil || name != "SOURCES/INSTALL.WIM" {
					t.Errorf("Find = %q, %v", name, err)
				}
				return
			}
			var names []string
			for _, set := range []map[string]string{files, test.more} {
				for name, content := range set {
					names = append(names, name)
					got, err := fs.ReadFile(v, name)
					if err != nil || string(got) != content {
						t.Errorf("%s has %d bytes, %v", name, len(got), err)
					}
				}
			}
			if err := fstest.TestFS(v, names...); err != nil {
				t.Error(err)
			}
			if n, size := v.Sizes(); n != len(names) || size < 8<<10 {
				t.Errorf("Sizes = %d, %d", n, size)
			}
		})
	}
}

// What is copied is what is read.
func TestUnpack(t *testing.T) {
	v, err := OpenVolume(makeMedium(t, []string{"-udf"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	dir := t.TempDir()
	scratch, err := dirfd.Open(dir, dirfd.Refuse)
	if err != nil {
		t.Fatal(err)
	}
	defer scratch.Close()
	j := &Job{Medium: v}
	for name, content := range files {
		if err := j.unpack(context.Background(), scratch, mediumDir, name, func(int64) {}); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, mediumDir, name))
		if err != nil || string(got) != content {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		node, _ := v.find("", name)
		if st, err := os.Stat(filepath.Join(dir, mediumDir, name)); err != nil || !st.ModTime().Equal(node.modified) {
			t.Errorf("%s is of %v, not of %v", name, st.ModTime(), node.modified)
		}
	}
}

// A path is found whatever its spelling, also where one of the directories that it may go through
// leads nowhere.
func TestFind(t *testing.T) {
	tree := fstest.MapFS{"Sources/x": {}, "sources/y/z": {}, "SOURCES/Boot.wim": {}, "a/B": {}, "a/b": {}}
	for name, want := range map[string]string{
		"sources/boot.wim": "SOURCES/Boot.wim", "sources/X": "Sources/x", "sources/y": "sources/y", "A/b": "a/b", "a/B": "a/B", "sources/z": "",
	} {
		got, err := Find(tree, name)
		if got != want || (err != nil) != (want == "") || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Find(%s) = %q, %v", name, got, err)
		}
	}
}

func TestNoVolume(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.iso")
	if err := os.WriteFile(name, bytes.Repeat([]byte("no medium"), 1<<16), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenVolume(name); !errors.Is(err, ErrNoMedium) {
		t.Errorf("OpenVolume = %v", err)
	}
	if _, err := OpenVolume(t.TempDir()); !errors.Is(err, ErrNoMedium) {
		t.Errorf("OpenVolume of a directory = %v", err)
	}
	// One that was not downloaded as a whole.
	whole := makeMedium(t, []string{"-udf"}, nil)
	v, err := OpenVolume(whole)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	n, err := v.find("find", "sources/install.wim")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(whole, n.extents[0].start+sector); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenVolume(whole); !errors.Is(err, ErrDamaged) {
		t.Errorf("OpenVolume of a cut medium = %v", err)
	}
}

// Whoever has made a medium cannot lead those who unpack it elsewhere.
func TestNames(t *testing.T) {
	v := &Volume{left: 10}
	for _, name := range []string{"", ".", "..", "a/b", "a\x00"} {
		if err := v.add(new(node), &node{name: name}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for i := range 11 {
		if err := v.add(new(node), &node{name: fmt.Sprint(i)}); (err != nil) != (i == 10) {
			t.Errorf("%d files: %v", i+1, err)
		}
	}
}

// FuzzVolume changes bytes of media at some places, which are too large to be changed as a whole.
func FuzzVolume(f *testing.F) {
	var media [][]byte
	for _, test := range formats {
		data, err := os.ReadFile(makeMedium(f, test.args, test.more))
		if err != nil {
			f.Fatal(err)
		}
		media = append(media, data)
	}
	f.Add(0, uint32(257*sector+188), []byte{0xff})
	f.Add(3, uint32(16*sector+156), []byte("\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, medium int, at uint32, change []byte) {
		if medium < 0 || medium >= len(media) {
			return
		}
		data := bytes.Clone(media[medium])
		copy(data[int(at)%len(data):], change)
		v, err := newVolume(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		fs.WalkDir(v, ".", func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				if _, err := fs.ReadFile(v, name); err != nil && !errors.Is(err, ErrDamaged) {
					t.Errorf("%s: %v", name, err)
				}
			}
			return err
		})
	})
}
