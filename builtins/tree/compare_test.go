package tree_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/tree"
)

// compared returns the differences of two roots, a line for each, such as "/etc/x content@4"
// or "-/gone".
func compared(t *testing.T, c tree.Comparison, old, new *dirfd.Dir) (lines []string, was, is tree.Totals) {
	t.Helper()
	c.Found = func(d tree.Difference) error {
		switch {
		case d.New == nil:
			lines = append(lines, "-"+d.Path)
		case d.Old == nil:
			lines = append(lines, "+"+d.Path)
		case d.Kinds[len(d.Kinds)-1] == "content":
			lines = append(lines, fmt.Sprintf("%s %s@%d", d.Path, strings.Join(d.Kinds, ","), d.Offset))
		default:
			lines = append(lines, d.Path+" "+strings.Join(d.Kinds, ","))
		}
		return nil
	}
	was, is, err := c.Directories(tree.Compared{Root: old}, tree.Compared{Root: new})
	if err != nil {
		t.Fatal(err)
	}
	return lines, was, is
}

func TestCompare(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	tests := []struct {
		summary  string
		old, new []string
		change   func(old, new string) error // of the two directories
		want     string
	}{
		{summary: "nothing", old: []string{"a=1", "b/c=2"}, new: []string{"a=1", "b/c=2"}},
		{summary: "content", old: []string{"a=12"}, new: []string{"a=13"}, want: "/a content@1"},
		{summary: "content that begins alike", old: []string{"a=12"}, new: []string{"a=123"}, want: "/a size,content@2"},
		{summary: "content far away", old: []string{"a=" + long + "1"}, new: []string{"a=" + long + "2"}, want: "/a content@307200"},
		{summary: "no content", old: []string{"a="}, new: []string{"a=1"}, want: "/a size,content@0"},
		{
			summary: "names in the order of a scan", old: []string{"a/b=1", "a.b=2", "z=1"}, new: []string{"a/c=1", "a.b=3", "a!=1"},
			want: "-/a/b +/a/c +/a! /a.b content@0 -/z",
		},
		{summary: "a directory becomes a link", old: []string{"a/b/c=1"}, new: []string{"a->b"}, want: "/a type -/a/b -/a/b/c"},
		{summary: "text of a link", old: []string{"a->b"}, new: []string{"a->$HOST/outside"}, want: "/a link"},
		{summary: "a link becomes a directory", old: []string{"a->b"}, new: []string{"a/b=1"}, want: "/a type +/a/b"},
		{summary: "mode", old: []string{"a=1"}, new: []string{"a=1"}, change: func(_, new string) error {
			return os.Chmod(new+"/a", 0o600)
		}, want: "/a mode"},
		{summary: "time", old: []string{"a=1"}, new: []string{"a=1"}, change: func(_, new string) error {
			return os.Chtimes(new+"/a", time.Time{}, time.Unix(1e9, 0))
		}, want: "/a time"},
		{summary: "an attribute", old: []string{"a=1"}, new: []string{"a=1"}, change: func(_, new string) error {
			return unix.Setxattr(new+"/a", "user.x", []byte("1"), 0)
		}, want: "/a xattr"},
		{summary: "another name", old: []string{"a=1", "b=1"}, new: []string{"a=1"}, change: func(_, new string) error {
			return os.Link(new+"/a", new+"/b")
		}, want: "/b link"},
		{summary: "what would be waited for is not opened", change: func(old, new string) error {
			if err := unix.Mkfifo(old+"/a", 0o644); err != nil {
				return err
			}
			return unix.Mkfifo(new+"/a", 0o600)
		}, want: "/a mode"},
		{summary: "names of any bytes", old: []string{"\xff\n=1"}, want: "-/\xff\n"},
	}
	for _, test := range tests {
		old, was := newRoot(t, test.old...)
		new, is := newRoot(t, test.new...)
		for _, dir := range []string{was, is} {
			filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
				ts := []unix.Timespec{{Sec: 1e9 + 7}, {Sec: 1e9 + 7}}
				return unix.UtimesNanoAt(unix.AT_FDCWD, name, ts, unix.AT_SYMLINK_NOFOLLOW)
			})
		}
		ignore := []string{}
		if test.change != nil {
			if err := test.change(was, is); err != nil {
				t.Errorf("%s: %v", test.summary, err)
			}
		}
		if test.summary != "time" {
			ignore = append(ignore, "time")
		}
		lines, _, _ := compared(t, tree.Comparison{Prefix: "/", Ignore: ignore}, old, new)
		if got := strings.Join(lines, " "); got != test.want {
			t.Errorf("%s: got %q, want %q", test.summary, got, test.want)
		}
	}
}

// A format without fractions of seconds has the time that another had, and nobody is told
// of what is left out or ignored.
func TestCompareLess(t *testing.T) {
	old, was := newRoot(t, "a=1", "b/c=1", "d=1")
	new, is := newRoot(t, "a=1", "b/c=2", "d=2")
	for name, ts := range map[string]unix.Timespec{was + "/a": {Sec: 5, Nsec: 0}, is + "/a": {Sec: 5, Nsec: 7}} {
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{ts, ts}, 0); err != nil {
			t.Fatal(err)
		}
	}
	c := tree.Comparison{Prefix: "/", Leave: func(path string) bool { return path != "/a" }}
	if lines, was, is := compared(t, c, old, new); lines != nil || was != is || was != (tree.Totals{Files: 5, Size: 3}) {
		t.Errorf("got %q, %v, %v", lines, was, is)
	}
	c = tree.Comparison{Prefix: "/", Ignore: tree.Kinds}
	if lines, _, _ := compared(t, c, old, new); lines != nil {
		t.Errorf("got %q, although all kinds are ignored", lines)
	}
}

// Two trees are alike when they dump alike, whatever is done to one of them.
func FuzzCompare(f *testing.F) {
	f.Add("a", "1", "b/c", "2")
	f.Add("a", "1", "a", "1")
	f.Add("\xff", "", "\xff/x", "")
	f.Fuzz(func(t *testing.T, aName, aText, bName, bText string) {
		make := func(name, text string) *dirfd.Dir {
			root, _ := newRoot(t)
			if root.MkdirAll(filepath.Dir("/"+name), 0o755) == nil {
				root.WriteFile(name, 0o644, dirfd.Bytes([]byte(text)))
			}
			return root
		}
		a, b := make(aName, aText), make(bName, bText)
		lines, _, _ := compared(t, tree.Comparison{Prefix: "/", Ignore: []string{"time"}}, a, b)
		if alike := dump(t, a) == dump(t, b); alike != (lines == nil) {
			t.Errorf("alike: %v, differences: %q", alike, lines)
		}
	})
}
