package tree_test

import (
	"os"
	"strings"
	"testing"

	"imagebuilder/builtins/tree"
)

func TestMove(t *testing.T) {
	victim := t.TempDir()
	tests := []struct {
		summary string
		lines   []string
		into    string
		want    string // names, in order
	}{
		{"into what is not there", []string{"new/a=1", "new/d/b=2"}, "/x", "/x /x/a /x/d /x/d/b"},
		{"directories are merged", []string{"new/d/a=1", "d/b=2"}, "/", "/d /d/a /d/b"},
		{"files are replaced", []string{"new/a=new", "a=old"}, "/", "/a"},
		{"a link is replaced by a file, not followed", []string{"new/a=1", "a->" + victim + "/a"}, "/", "/a"},
		{"a link to a directory of the root is that", []string{"new/bin/a=1", "usr/bin/", "bin->/usr/bin"}, "/", "/bin /usr /usr/bin /usr/bin/a"},
		{"one to a directory of the host is not", []string{"new/bin/a=1", "bin->" + victim}, "/", "/bin /bin/a"},
		{"a directory gives way to a file", []string{"new/a=1", "a/b/c=2"}, "/", "/a"},
		{"a file to a directory", []string{"new/a/b=1", "a=2"}, "/", "/a /a/b"},
		{"the place may lie behind a link", []string{"new/a=1", "lib->/usr/lib", "usr/lib/"}, "/lib", "/lib /usr /usr/lib /usr/lib/a"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			root, _ := newRoot(t, test.lines...)
			if err := tree.Move(root, "/new", test.into); err != nil {
				t.Fatal(err)
			}
			var names []string
			for line := range strings.Lines(dump(t, root)) {
				if name, _, _ := strings.Cut(line, " "); name != "/" {
					names = append(names, name)
				}
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if left, err := os.ReadDir(victim); err != nil || len(left) > 0 {
				t.Errorf("something was written outside: %v, %v", left, err)
			}
		})
	}
}

func TestMoveTellsModes(t *testing.T) {
	for _, test := range []struct {
		summary    string
		mode, want uint32
	}{
		{"a directory's mode goes with it", 0o700, 0o700},
		{"one that says nothing changes nothing", tree.Unset, 0o711},
	} {
		t.Run(test.summary, func(t *testing.T) {
			root, _ := newRoot(t, "new/a=1", "into/")
			if err := root.Chmod("new", test.mode); err != nil {
				t.Fatal(err)
			}
			if err := root.Chmod("into", 0o711); err != nil {
				t.Fatal(err)
			}
			if err := tree.Move(root, "/new", "/into"); err != nil {
				t.Fatal(err)
			}
			if st, err := root.Stat("into"); err != nil || st.Mode&0o7777 != test.want {
				t.Errorf("mode %o, %v, want %o", st.Mode&0o7777, err, test.want)
			}
		})
	}
}
