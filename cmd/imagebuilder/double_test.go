package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/provenance"
)

// The same recipe, its inputs and an epoch give the same bytes, whatever the machine. Two
// machines are made of one by all that can be different about them.

// An otherMachine is what is different: programs of the machine think it is 40 days later, and
// find the options and the language of somebody else.
type otherMachine struct{ env []string }

// libfaketime is what makes programs think so, or skips the test.
func libfaketime(t *testing.T) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if len(found) == 0 {
		t.Skip("needs libfaketime (Debian package faketime)")
	}
	return found[0]
}

// newOtherMachine makes programs that take the place of those of this machine. They are not in
// a temporary directory, of which programs that work on images have one of their own.
func newOtherMachine(t *testing.T) otherMachine {
	t.Helper()
	lib := libfaketime(t)
	dir, err := os.MkdirTemp("/var/lib", "imagebuilder-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields("tar xz gzip lzop zstd mksquashfs cp touch date sgdisk mke2fs mkfs.vfat mmd mcopy qemu-img") {
		path, err := exec.LookPath(name)
		if err != nil {
			continue // the tool says so, if it is needed
		}
		// The times of files stay what they are.
		text := fmt.Sprintf("#!/bin/sh\nLD_PRELOAD=%s FAKETIME=+40d NO_FAKE_STAT=1 exec %s \"$@\"\n", lib, path)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, format := range []string{"+%s", "+%F"} {
		here, there := output(t, nil, "date", format), output(t, []string{"PATH=" + dir}, filepath.Join(dir, "date"), format)
		if here == there {
			t.Fatalf("the other machine has the same time: %s", there)
		}
	}
	return otherMachine{[]string{
		"PATH=" + dir + ":" + os.Getenv("PATH"), "LC_ALL=tr_TR.UTF-8", "LANG=tr_TR.UTF-8", "TZ=Asia/Tokyo", "HOME=" + t.TempDir(), "USER=somebody",
		"XZ_OPT=--check=none -0", "XZ_DEFAULTS=-1", "GZIP=-1", "ZSTD_CLEVEL=1", "ZSTD_NBTHREADS=1", "LZOP=-1", "TAR_OPTIONS=--mtime=@1", "TMPDIR=" + t.TempDir(),
	}}
}

// builtTwice runs a recipe with an epoch as two machines, the second with more arguments, and
// compares the results.
func builtTwice(t *testing.T, recipe string, both, second []string) {
	t.Helper()
	other := newOtherMachine(t)
	one, two := t.TempDir(), t.TempDir()
	const run = `umask "$1"; shift; exec imagebuilder run "$@"`
	args := func(umask, dir string, flags ...string) []string {
		list := []string{"-c", run, "sh", umask, recipe, filepath.Join(dir, "out"), "--cache", filepath.Join(dir, "deep/er", "cache")}
		return append(append(list, flags...), both...)
	}
	epoch := "SOURCE_DATE_EPOCH=1767312000"
	output(t, []string{epoch}, "sh", args("022", one)...)
	output(t, append(other.env, epoch), "sh", args("077", two, append(second, "--disable-overlay")...)...)
	was, is := described(t, filepath.Join(one, "out")), described(t, filepath.Join(two, "out"))
	if len(was) == 0 {
		t.Fatal("there are no results")
	}
	for name, text := range was {
		if len(second) > 0 && filepath.Base(name) == provenance.UnsignedName {
			delete(is, name) // it names the options
			continue
		}
		if is[name] != text {
			t.Errorf("%s differs:\n%s\n%s", name, text, is[name])
		}
	}
	for name := range is {
		if was[name] == "" {
			t.Errorf("%s is only in the second build", name)
		}
	}
}

// described tells of each file below a directory all that is to be the same. Of the directories
// above what was made the modes and times are those of whoever made them.
func described(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		tree := rel == "tree" || strings.HasPrefix(rel, "tree/")
		if d.IsDir() && !tree {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		var b bytes.Buffer
		fmt.Fprintf(&b, "%v %d:%d", info.Mode(), st.Uid, st.Gid)
		if tree {
			fmt.Fprintf(&b, " %d names, %v", st.Nlink, info.ModTime().UTC())
		}
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			text, err := os.Readlink(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %s", text)
		case d.Type().IsRegular():
			sum, size, err := digest.File(name)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d bytes, %v", size, sum)
		}
		files[rel] = b.String()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestDoubleBuild(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: builds")
	}
	for program, pkg := range map[string]string{
		"mksquashfs": "squashfs-tools", "lzop": "lzop", "zstd": "zstd", "/bin/busybox": "busybox-static",
		"sgdisk": "gdisk", "mkfs.vfat": "dosfstools", "mcopy": "mtools", "mke2fs": "e2fsprogs", "qemu-img": "qemu-utils",
	} {
		need(t, program, pkg)
	}
	builtTwice(t, "../../testdata/recipes/double.star", nil, nil)
}

// doubleDebian has in it what Debian's packages do by the time of day: users, logs, caches. Its
// programs have the time of the other machine, if that is said.
const doubleDebian = `
load("@stdlib//sources/debian.star", "debootstrap")

mirror = option("mirror", "")
later = option("later", False)

def main():
    img = image("debian", "bookworm", serial = "1")
    root = debootstrap(img, mirror, variant = "minbase", include = ["libfaketime"])
    if later:
        root.env["LD_PRELOAD"] = root.glob("/usr/lib/*/faketime/libfaketime.so.1")[0]
        root.env["FAKETIME"] = "+40d"
        root.env["NO_FAKE_STAT"] = "1"
    install(root, ["init", "locales", "openssh-server", "polkitd", "python3-minimal", "fontconfig"], update = True)
    chroot_run(root, "#!/bin/sh\nset -e\nuseradd --create-home admin\nusermod --password '*' admin\n" +
               "echo en_US.UTF-8 UTF-8 >>/etc/locale.gen\nlocale-gen\n", network = False)
    seal(root)
    pack_lxd(fork(root), img, dir = "split", compression = "zstd-1")
    pack_lxd(fork(root), img, dir = "unified", type = "unified", compression = "lzo-1")
    pack_lxc(fork(root), img, dir = "lxc", compression = "zstd-1")
    pack_lxd(disk(fork(root)), img, dir = "disk", compression = "zstd-1")
    export(fork(root), "tree")
`

func TestRealDoubleBuild(t *testing.T) {
	needAll(t)
	archive, _ := mirrors(t)
	for program, pkg := range map[string]string{"mmdebstrap": "mmdebstrap", "lzop": "lzop", "zstd": "zstd"} {
		need(t, program, pkg)
	}
	recipe := filepath.Join(t.TempDir(), "debian.star")
	if err := os.WriteFile(recipe, []byte(doubleDebian), 0o644); err != nil {
		t.Fatal(err)
	}
	builtTwice(t, recipe, []string{"-o", "mirror=" + archive}, []string{"-o", "later=true"})
}
