package tree_test

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// A layer of a container image is treated alike, also where a device has two names.
func TestLayersDropDevices(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make device nodes")
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, h := range []tar.Header{
		{Name: "dev/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
		{Name: "dev/zero", Typeflag: tar.TypeLink, Linkname: "dev/null"},
		{Name: "dev/disk", Typeflag: tar.TypeBlock, Devmajor: 7},
		{Name: "dev/fd", Typeflag: tar.TypeSymlink, Linkname: "/proc/self/fd"},
		{Name: "etc/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	root, _ := newRoot(t)
	if err := tree.ReadLayer(root, &layer); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"/dev/null": false, "/dev/zero": false, "/dev/disk": false, "/etc/null": true} {
		if got := root.Exists(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if text, err := root.Readlink("/dev/fd"); err != nil || text != "/proc/self/fd" {
		t.Errorf("/dev/fd leads to %q, %v", text, err)
	}
}
