package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// packAll packs a directory in every format of containers.
const packAll = `
source = option("source", "")
compression = option("compression", "none")

def main():
    img = image("odd", "1", name = "unified")
    root = rootfs(img, source = source)
    pack_lxd(fork(root, "lxd"), img, compression = "none" if compression == "none" else "zstd-1")
    pack_lxd(fork(root, "lxd"), img, type = "unified", compression = compression)
    pack_lxc(fork(root, "lxc"), img, compression = compression)
    export(root, "dir")
`

// Every format holds the same tree: owners, modes, links, devices, capabilities and
// other extended attributes. Squashfs alone has no access control lists; archives have zeros for
// holes, since how tar writes these is not the same twice.
func TestFormatsHoldTheSame(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: builds")
	}
	need(t, "unsquashfs", "squashfs-tools")
	base, err := os.MkdirTemp("/var/tmp", "formats") // not on a tmpfs, which may lack attributes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	source, out := filepath.Join(base, "source"), filepath.Join(base, "out")
	makeOddTree(t, source)
	recipe := filepath.Join(base, "pack.star")
	if err := os.WriteFile(recipe, []byte(packAll), 0o644); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command("imagebuilder", "run", recipe, out, "--cache", filepath.Join(base, "cache"), "-o", "source="+source).CombinedOutput()
	if want := "those of /listed are lost; let the image set them"; err != nil || !strings.Contains(string(said), want) {
		t.Fatalf("got %v, want %s in\n%s", err, want, said)
	}

	want := dump(t, source)
	unpacked := func(name string, unpack ...string) string {
		dir := filepath.Join(base, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		output(t, nil, unpack[0], append(unpack[1:], dir)...)
		return dir
	}
	tar := []string{"tar", "--extract", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "--same-permissions"}
	dirs := map[string]string{
		"export":  out + "/dir",
		"lxc":     unpacked("lxc", append(tar, "--file", out+"/rootfs.tar", "--directory")...),
		"unified": unpacked("unified", append(tar, "--file", out+"/unified.tar", "--directory")...) + "/rootfs",
	}
	for format, dir := range dirs {
		if got := dump(t, dir); got != want {
			t.Errorf("%s differs:\n%s", format, firstDifference(want, got))
		}
	}
	checkHoles(t, "export", filepath.Join(dirs["export"], "sparse"))
	squashfs := filepath.Join(base, "squashfs")
	output(t, nil, "unsquashfs", "-no-progress", "-dest", squashfs, out+"/rootfs.squashfs")
	if got, want := dump(t, squashfs), withoutACLs(want); got != want {
		t.Errorf("squashfs differs:\n%s", firstDifference(want, got))
	}
	checkHoles(t, "squashfs", filepath.Join(squashfs, "sparse"))
}

// makeOddTree makes a tree with all that a packer may get wrong.
func makeOddTree(t *testing.T, dir string) {
	t.Helper()
	path := func(name string) string { return filepath.Join(dir, name) }
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string, mode uint32) {
		t.Helper()
		ok(os.WriteFile(path(name), []byte(name), 0o644))
		ok(unix.Chmod(path(name), mode))
	}
	for _, name := range []string{"etc/systemd", "usr/bin", "home/a b", "empty"} {
		ok(os.MkdirAll(path(name), 0o755))
	}
	write("usr/bin/setuid", 0o4755)
	write("usr/bin/capable", 0o755)
	// cap_net_raw+ep, as setcap(8) writes it: version 2 with the effective bit.
	ok(unix.Setxattr(path("usr/bin/capable"), "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	write("attributes", 0o600)
	ok(unix.Setxattr(path("attributes"), "user.comment", []byte("a\x00b"), 0))
	ok(unix.Setxattr(path("attributes"), "trusted.note", []byte("kept"), 0))
	write("listed", 0o640)
	// user::rw-, user:1000:r--, group::r--, mask::r--, other::---
	ok(unix.Setxattr(path("listed"), "system.posix_acl_access", []byte("\x02\x00\x00\x00"+
		"\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\xe8\x03\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff"+
		"\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"), 0))
	write("home/a b/-odd\nname\xff", 0o644)
	ok(unix.Lchown(path("home/a b"), 1000, 70000))
	ok(unix.Chmod(path("home/a b"), 0o2770))
	ok(os.Link(path("usr/bin/setuid"), path("usr/bin/same")))
	for name, text := range map[string]string{"dot": "./usr", "absolute": "/etc/passwd", "parent": "a/foo", "dangling": "./nowhere"} {
		ok(os.Symlink(text, path(name)))
		ok(unix.Lchown(path(name), 7, 8))
	}
	ok(os.Link(path("dot"), path("dot-again")))
	ok(unix.Mknod(path("console"), unix.S_IFCHR|0o620, int(unix.Mkdev(5, 1))))
	ok(unix.Mknod(path("disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 300))))
	ok(unix.Mkfifo(path("fifo"), 0o600))
	hole, err := os.Create(path("sparse"))
	ok(err)
	_, err = hole.WriteAt([]byte("end"), 8<<20)
	ok(err)
	ok(hole.Truncate(16 << 20))
	ok(hole.Close())
}

func checkHoles(t *testing.T, format, file string) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(file, &st); err != nil {
		t.Error(err)
	} else if st.Blocks*512 > 1<<20 {
		t.Errorf("%s: a file of one block takes %d bytes", format, st.Blocks*512)
	}
}

// withoutACLs is what is left of a dump in a format that has none; the mode keeps what
// the mask says of the group.
func withoutACLs(dump string) string {
	lines := strings.Split(dump, "\n")
	for i, line := range lines {
		lines[i], _, _ = strings.Cut(line, " system.posix_acl_access=")
	}
	return strings.Join(lines, "\n")
}
