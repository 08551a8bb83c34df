package dirfd_test

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// fixture is a directory with a file, a link to it, a link out, and a link to nothing,
// beside a file that nobody may reach.
func fixture(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "dir")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "sub"), 0o755),
		os.WriteFile(filepath.Join(top, "secret"), []byte("host"), 0o644),
		os.WriteFile(filepath.Join(dir, "secret"), []byte("inside"), 0o644),
		os.WriteFile(filepath.Join(dir, "sub/file"), []byte("text"), 0o644),
		os.Symlink("sub", filepath.Join(dir, "in")),
		os.Symlink("..", filepath.Join(dir, "out")),
		os.Symlink("/secret", filepath.Join(dir, "abs")),
		os.Symlink("none", filepath.Join(dir, "dangling")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func open(t *testing.T, name string, links dirfd.Links) *dirfd.Dir {
	t.Helper()
	d, err := dirfd.Open(name, links)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestLinks(t *testing.T) {
	tests := []struct {
		summary string
		links   dirfd.Links
		name    string
		text    string
		err     error
	}{
		{"a file", dirfd.Refuse, "sub/file", "text", nil},
		{"a link is refused", dirfd.Refuse, "in/file", "", unix.ELOOP},
		{"a link that stays inside is followed to look", dirfd.Beneath, "in/file", "text", nil},
		{"one that leads out is not", dirfd.Beneath, "out/secret", "", unix.EXDEV},
		{"nor is an absolute one", dirfd.Beneath, "abs", "", unix.EXDEV},
		{"nor is a name that leads out", dirfd.Beneath, "../secret", "", unix.EXDEV},
		{"in a root a link that leads out ends at the top", dirfd.InRoot, "/out/secret", "inside", nil},
		{"in a root an absolute link is one of the root", dirfd.InRoot, "/abs", "inside", nil},
		{"in a root a name that leads out ends at the top", dirfd.InRoot, "/../secret", "inside", nil},
		{"a dangling link is not there", dirfd.InRoot, "/dangling", "", fs.ErrNotExist},
	}
	dir := fixture(t)
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			data, err := open(t, dir, test.links).ReadFile(test.name, 100)
			if string(data) != test.text || !errors.Is(err, test.err) {
				t.Errorf("got %q, %v", data, err)
			}
			if err != nil && strings.Contains(err.Error(), dir) {
				t.Errorf("the error names the directory: %v", err)
			}
		})
	}
}

func TestChangesFollowNoLinks(t *testing.T) {
	for _, links := range []dirfd.Links{dirfd.Refuse, dirfd.Beneath} {
		d := open(t, fixture(t), links)
		for op, err := range map[string]error{
			"create":    second(d.Create("in/new", 0o644)),
			"stage":     second(d.Stage("in/new", 0o644)),
			"mkdir":     d.Mkdir("in/new", 0o755),
			"mkdir all": d.MkdirAll("in/new/er", 0o755),
			"remove":    d.Remove("in/file"),
			"rename":    d.Rename("in/file", "other"),
			"link":      d.Link("sub/file", "in/other"),
			"chmod":     d.Chmod("in/file", 0o600),
			"remove all": func() error {
				if err := d.RemoveAll("in"); err != nil { // the link itself goes
					return err
				}
				if !d.Exists("sub/file") {
					t.Error("what a link points to was removed")
				}
				return unix.ELOOP
			}(),
		} {
			if !errors.Is(err, unix.ELOOP) {
				t.Errorf("%s: %v", op, err)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestModesAreExact(t *testing.T) {
	old := unix.Umask(0o077) // of this test's process; others of the package do not look
	defer unix.Umask(old)
	d := open(t, t.TempDir(), dirfd.InRoot)
	fill := func(w *bufio.Writer) error { return nil }
	if err := errors.Join(d.MkdirAll("/a/b", 0o755), d.WriteFile("/a/f", 0o666, fill), d.Replace("/a/g", 0o644, fill)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint32{"/a": 0o755, "/a/b": 0o755, "/a/f": 0o666, "/a/g": 0o644} {
		st, err := d.Lstat(name)
		if err != nil || st.Mode&0o7777 != want {
			t.Errorf("%s: %o, %v", name, st.Mode, err)
		}
	}
}

func TestStage(t *testing.T) {
	tests := []struct {
		summary string
		before  string // what has the name; "": nothing, "dir": a directory
		appear  bool
		want    string // content afterwards
		err     bool
	}{
		{"a new file appears", "", true, "new", false},
		{"a file is replaced", "old", true, "new", false},
		{"one that is discarded was never there", "", false, "", false},
		{"and leaves alone what was", "old", false, "old", false},
		{"a directory is not replaced", "dir", true, "", true},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			dir := t.TempDir()
			d := open(t, dir, dirfd.Refuse)
			name := filepath.Join(dir, "file")
			if test.before == "dir" {
				os.Mkdir(name, 0o755)
			} else if test.before != "" {
				os.WriteFile(name, []byte(test.before), 0o644)
			}
			w, err := d.Stage("file", 0o644)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte("new")); err != nil {
				t.Fatal(err)
			}
			if test.appear {
				if err := w.Appear("file"); (err != nil) != test.err {
					t.Errorf("appear: %v", err)
				}
			}
			if err := w.Discard(); err != nil {
				t.Error(err)
			}
			if data, _ := os.ReadFile(name); string(data) != test.want {
				t.Errorf("got %q", data)
			}
			if names, _ := d.ReadDir("."); len(names) > 1 {
				t.Errorf("left: %v", names)
			}
		})
	}
}

// A file that is put takes the place of what was there, and of a left-over; whatever fails leaves what was.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, dirfd.Refuse)
	for i, text := range []string{"first", "second, longer", "third"} {
		if i > 0 {
			os.WriteFile(filepath.Join(dir, dirfd.TempName("file")), []byte("left"), 0o600)
		}
		if err := d.Replace("file", 0o640, dirfd.Bytes([]byte(text))); err != nil {
			t.Fatal(err)
		}
		is, err := os.ReadFile(filepath.Join(dir, "file"))
		st, _ := d.Stat("file")
		if names, _ := d.ReadDir("."); err != nil || string(is) != text || st.Mode&0o7777 != 0o640 || len(names) != 1 {
			t.Errorf("replace by %q: got %q, %o, %v, %v", text, is, st.Mode, names, err)
		}
	}
	if err := d.Mkdir("dir", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := d.Replace("dir", 0o644, func(*bufio.Writer) error { return nil }); err == nil {
		t.Error("a directory was replaced")
	}
	if names, _ := d.ReadDir("."); len(names) != 2 {
		t.Errorf("left: %v", names)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	mine, other := open(t, dir, dirfd.Refuse), open(t, dir, dirfd.Refuse)
	f, err := mine.OpenFile(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	g, err2 := other.OpenFile(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	defer g.Close()
	if err := dirfd.Lock(t.Context(), f, func() { t.Error("one that nobody has was waited for") }); err != nil {
		t.Fatal(err)
	}
	waited := false
	let := func() { waited = true; dirfd.Flock(f, unix.LOCK_UN) }
	if err := dirfd.Lock(t.Context(), g, let); err != nil || !waited {
		t.Errorf("got %v, waited: %v", err, waited)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := dirfd.Lock(ctx, f, cancel); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestSupplant(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, dirfd.Refuse)
	for _, name := range []string{"first", "second"} {
		if err := errors.Join(d.Mkdir(name, 0o755), os.WriteFile(filepath.Join(dir, name, name), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if replaced, err := d.Supplant("first", "place"); replaced || err != nil {
		t.Fatal(replaced, err)
	}
	if replaced, err := d.Supplant("second", "place"); !replaced || err != nil {
		t.Fatal(replaced, err)
	}
	if !d.Exists("place/second") || !d.Exists("second/first") {
		t.Error("the directories have not changed places")
	}
}

func TestMountsAreNotCrossed(t *testing.T) {
	if os.Getenv("DIRFD_TEST_MOUNT") == "" { // in a mount namespace of its own
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("unshare", "--mount", self, "-test.run=^TestMountsAreNotCrossed$", "-test.v")
		if exec.Command("unshare", "--mount", "true").Run() != nil {
			t.Skip("needs root and mount namespaces")
		}
		cmd.Env = append(os.Environ(), "DIRFD_TEST_MOUNT=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for _, test := range []struct{ summary, on string }{
		{"on a directory", "a/b"}, {"on a file", "a/file"},
	} {
		t.Run(test.summary, func(t *testing.T) {
			dir, other := t.TempDir(), t.TempDir()
			d := open(t, dir, dirfd.Refuse)
			source := other
			if err := errors.Join(d.MkdirAll("a/b", 0o755), os.WriteFile(filepath.Join(dir, "a/file"), nil, 0o644),
				os.WriteFile(filepath.Join(other, "precious"), nil, 0o644)); err != nil {
				t.Fatal(err)
			}
			if test.on == "a/file" {
				source = filepath.Join(other, "precious")
			}
			// The same file system, so that only the mount itself tells.
			if err := unix.Mount(source, filepath.Join(dir, test.on), "", unix.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
			defer unix.Unmount(filepath.Join(dir, test.on), unix.MNT_DETACH)
			if found, err := d.Mounted("a"); found != test.on || err != nil {
				t.Errorf("found %q, %v", found, err)
			}
			if err := d.RemoveAll("a"); !errors.Is(err, dirfd.ErrMounted) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(filepath.Join(other, "precious")); err != nil {
				t.Error("what was mounted was removed")
			}
		})
	}
}

func TestFault(t *testing.T) {
	d := open(t, fixture(t), dirfd.Refuse)
	boom := errors.New("boom")
	d.Fault = func(op, name string) error {
		if op == "remove" && name == "sub/file" {
			return boom
		}
		return nil
	}
	if err := d.RemoveAll("sub"); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if !d.Exists("sub/file") {
		t.Error("it was removed nevertheless")
	}
}

func TestReadFileIsBounded(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, dirfd.Refuse)
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	if data, err := d.ReadFile("file", 5); err != nil || string(data) != "12345" {
		t.Errorf("all of it: %q, %v", data, err)
	}
	if data, err := d.ReadFile("file", 4); err == nil || data != nil || !strings.Contains(err.Error(), "larger than 4 bytes") {
		t.Errorf("a byte too large: %q, %v", data, err)
	}
	// A file of /proc says that it is empty.
	if data, err := open(t, "/proc/self", dirfd.Beneath).ReadFile("status", 1<<20); err != nil || len(data) == 0 {
		t.Errorf("a file without a size: %d bytes, %v", len(data), err)
	}
}

// Names in the directory itself are as good as those below it, whatever links mean.
func TestNamesInTheDirectoryItself(t *testing.T) {
	for _, links := range []dirfd.Links{dirfd.InRoot, dirfd.Refuse, dirfd.Beneath} {
		d := open(t, fixture(t), links)
		if text, err := d.Readlink("out"); err != nil || text != ".." {
			t.Errorf("readlink: %q, %v", text, err)
		}
		if err := d.Rename("secret", "sub/secret"); err != nil || d.Exists("secret") || !d.Exists("sub/secret") {
			t.Errorf("rename: %v", err)
		}
		if _, err := d.Lstat(".."); links != dirfd.InRoot && err == nil {
			t.Error("a name leads out")
		}
	}
}

// A clone is the other file or, where the file system shares no blocks, nothing at all.
func TestClone(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, dirfd.Refuse)
	if err := os.WriteFile(filepath.Join(dir, "from"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(filepath.Join(dir, "from"))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	w, err := d.Create("to", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	want := "text"
	if err := w.Clone(from); err != nil {
		want = ""
		if strings.Contains(err.Error(), dir) {
			t.Errorf("the error names the directory: %v", err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "to")); string(data) != want {
		t.Errorf("got %q, not %q", data, want)
	}
	injected := errors.New("injected")
	d.Fault = func(op, _ string) error {
		if op == "write" {
			return injected
		}
		return nil
	}
	if w, err = d.Create("other", 0o644); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Clone(from); !errors.Is(err, injected) {
		t.Errorf("a fault is not asked for: %v", err)
	}
}
