package tree_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/tree"
)

// fill makes a layer of an archive, in a new directory.
func fill(dir string, data []byte) error {
	d, err := dirfd.Open(dir, dirfd.InRoot)
	if err != nil {
		return err
	}
	return errors.Join(tree.FillLayer(d, bytes.NewReader(data)), d.Close())
}

func TestFillLayer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: whiteouts and attributes of overlayfs")
	}
	want, data := archive(t, upper(t))
	dir := t.TempDir()
	if err := fill(dir, data); err != nil {
		t.Fatal(err)
	}
	got, again := archive(t, dir)
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	} else if !bytes.Equal(again, data) {
		t.Error("the archive of what was filled has other bytes")
	}
}

// Whatever a layer holds, its archive makes the same layer, whose archive has the same bytes.
func TestFillLayerAgain(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: whiteouts and attributes of overlayfs")
	}
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		if err := errors.Join(os.Mkdir(from, 0o755), os.Mkdir(to, 0o700)); err != nil {
			t.Fatal(err)
		}
		drawTree(r, from, 3)
		listed, data := archive(t, from)
		if err := fill(to, data); err != nil {
			r.Fatalf("%v in\n%s", err, listed)
		}
		if got, again := archive(t, to); !bytes.Equal(again, data) {
			r.Fatalf("got:\n%s\nwant:\n%s", got, listed)
		}
	})
}

// drawTree fills a directory with whatever a layer can hold.
func drawTree(r *rapid.T, dir string, depth int) {
	made := []string{}
	for range rapid.IntRange(0, 6).Draw(r, "entries") {
		name := filepath.Join(dir, rapid.SampledFrom([]string{
			"a", "b", "with space", "caf\xe9", "new\nline", strings.Repeat("n", 255), "-", "..x", "\x01",
		}).Draw(r, "name"))
		kind := rapid.SampledFrom([]string{"file", "dir", "link", "hard", "fifo", "socket", "gone", "null"}).Draw(r, "kind")
		if _, err := os.Lstat(name); err == nil {
			continue
		}
		if err := draw(r, name, kind, made, depth); err != nil {
			r.Fatalf("%s %q: %v", kind, name, err)
		}
		made = append(made, name)
	}
	stamp(r, dir)
}

func draw(r *rapid.T, name, kind string, made []string, depth int) error {
	switch kind {
	case "gone":
		return unix.Mknod(name, unix.S_IFCHR, 0)
	case "link":
		return os.Symlink(rapid.SampledFrom([]string{"a", "/etc", "../..", "\xff"}).Draw(r, "target"), name)
	case "hard":
		for _, other := range made {
			if st, err := os.Lstat(other); err == nil && st.Mode().IsRegular() {
				return os.Link(other, name)
			}
		}
		kind = "file"
	case "dir":
		if depth == 0 {
			return os.Mkdir(name, 0o700)
		}
		if err := os.Mkdir(name, 0o755); err != nil {
			return err
		}
		var err error
		if rapid.Bool().Draw(r, "opaque") {
			err = unix.Lsetxattr(name, "trusted.overlay.opaque", []byte("y"), 0)
		}
		drawTree(r, name, depth-1)
		return err
	}
	mode := map[string]uint32{"file": unix.S_IFREG, "fifo": unix.S_IFIFO, "socket": unix.S_IFSOCK, "null": unix.S_IFCHR}[kind]
	err := unix.Mknod(name, mode|0o600, int(unix.Mkdev(1, 3)))
	if err == nil && kind == "file" {
		err = os.WriteFile(name, rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(r, "content"), 0)
	}
	err = errors.Join(err, os.Lchown(name, rapid.IntRange(0, 70000).Draw(r, "uid"), rapid.IntRange(0, 3).Draw(r, "gid")),
		unix.Chmod(name, uint32(rapid.IntRange(0, 0o7777).Draw(r, "mode"))))
	if kind == "file" && rapid.Bool().Draw(r, "attribute") {
		err = errors.Join(err, unix.Lsetxattr(name, "user.x", rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(r, "value"), 0))
	}
	if err == nil {
		stamp(r, name)
	}
	return err
}

// stamp gives a file a time of any age.
func stamp(r *rapid.T, name string) {
	when := unix.Timespec{Sec: rapid.Int64Range(-1<<31, 1<<33).Draw(r, "seconds"), Nsec: rapid.Int64Range(0, 999999999).Draw(r, "nanoseconds")}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		r.Fatal(err)
	}
}

// FuzzFillLayer holds that no archive reaches anything beside the layer.
func FuzzFillLayer(f *testing.F) {
	if os.Geteuid() == 0 {
		dir := f.TempDir()
		if err := errors.Join(os.Symlink("..", filepath.Join(dir, "out")), unix.Mknod(filepath.Join(dir, "gone"), unix.S_IFCHR, 0)); err != nil {
			f.Fatal(err)
		}
		d, err := dirfd.Open(dir, dirfd.InRoot)
		if err != nil {
			f.Fatal(err)
		}
		var data bytes.Buffer
		if err := errors.Join(tree.WriteArchive(&data, d), d.Close()); err != nil {
			f.Fatal(err)
		}
		f.Add(data.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		in := filepath.Join(dir, "in")
		if err := errors.Join(os.Mkdir(in, 0o755), os.WriteFile(filepath.Join(dir, "beside"), []byte("text"), 0o600)); err != nil {
			t.Fatal(err)
		}
		fill(in, data)
		names, err := os.ReadDir(dir)
		text, rerr := os.ReadFile(filepath.Join(dir, "beside"))
		if err != nil || rerr != nil || string(text) != "text" || len(names) != 2 {
			t.Errorf("something beside the layer has changed: %s", fmt.Sprint(names, err, rerr))
		}
	})
}
