package tree_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"os"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/tree"
)

func TestDropDevices(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make device nodes")
	}
	tests := []struct{ into, want string }{
		{"/", "/dev /dev/console /dev/sub /etc /etc/null"},
		{"/srv/root", "/dev /dev/console /dev/null /dev/sub /dev/sub/disk /etc /etc/null"},
		{"/dev", "/dev /dev/console /dev/sub /etc"},
		{"/dev/sub/", "/dev /dev/console /dev/sub /etc"},
		{"/device", "/dev /dev/console /dev/null /dev/sub /dev/sub/disk /etc /etc/null"},
	}
	for _, test := range tests {
		t.Run(test.into, func(t *testing.T) {
			root, dir := newRoot(t, "new/dev/console=a file", "new/dev/sub/", "new/etc/")
			for name, mode := range map[string]uint32{"dev/null": unix.S_IFCHR, "dev/sub/disk": unix.S_IFBLK, "etc/null": unix.S_IFCHR} {
				if err := unix.Mknod(filepath.Join(dir, "new", name), mode|0o666, int(unix.Mkdev(1, 3))); err != nil {
					t.Fatal(err)
				}
			}
			before := time.Unix(1e9, 0)
			if err := os.Chtimes(filepath.Join(dir, "new/dev"), before, before); err != nil {
				t.Fatal(err)
			}
			if err := tree.DropDevices(root, "/new", test.into); err != nil {
				t.Fatal(err)
			}
			var names []string
			for line := range strings.Lines(dump(t, root)) {
				name, _, _ := strings.Cut(line, " ")
				if name, below := strings.CutPrefix(name, "/new/"); below {
					names = append(names, "/"+name)
				}
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if st, err := os.Stat(filepath.Join(dir, "new/dev")); err != nil || !st.ModTime().Equal(before) {
				t.Errorf("/dev has not kept its time: %v, %v", st, err)
			}
		})
	}
	root, dir := newRoot(t, "new/dev->/etc", "etc/")
	if err := unix.Mknod(filepath.Join(dir, "etc/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	if err := tree.DropDevices(root, "/new", "/"); err != nil || !root.Exists("/etc/null") {
		t.Errorf("a link was followed: %v", err)
	}
}
