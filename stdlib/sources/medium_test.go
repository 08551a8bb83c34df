package sources_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Media with an installer: what they are made of is real, but for dnf, yum and rpm, which say
// what they were called with.

// A medium is an ISO image, or a disk.
type medium struct {
	system   map[string]string // further files of the installer's system
	lacks    []string          // files that it does not have
	files    map[string]string // further files of the medium; packages, and what lists them
	live     bool              // the system is a file system in an image on the medium, as up to release 7
	contents string            // something that tells this medium from others
}

// dnfProgram makes a root file system, with what it was called with, the repositories it saw, and
// their keys.
const dnfProgram = `#!/bin/sh
set -e
for word in "$@"; do
    case $word in
    --installroot=*) root=${word#*=} ;;
    --setopt=reposdir=*) dir=${word#--setopt=reposdir=} ;;
    esac
done
mkdir -p "$root/bin" "$root/etc/yum.repos.d" "$root/var/cache/dnf" "$root/var/cache/yum"
for applet in sh rm find; do cp /bin/busybox "$root/bin/$applet"; done
ls -l "$root/dev/null" >/dev/null
cat /etc/medium >"$root/etc/medium"
cat "$dir"/*.repo >"$root/repositories"
cat /calls >"$root/calls" 2>/dev/null || :
echo "${0##*/} $*" >>"$root/calls"
for key in $(sed -n 's|^gpgkey=||p' "$dir"/*.repo); do cat "${key#file://}"; done >"$root/keys"
if [ -e /etc/new-rpmkeys ]; then cp /etc/new-rpmkeys "$root/bin/rpmkeys"; : >"$root/var/cache/dnf/a.rpm"; fi
echo enabled=1 >"$root/etc/yum.repos.d/kernel.repo"
`

// rpmProgram brings yum, if the system has none.
const rpmProgram = `#!/bin/sh
set -e
echo "${0##*/} $*" >>/calls
case $* in *-ivh*/yum-*) cp /etc/dnf-program /usr/bin/yum ;; esac
`

// applets are the programs of the installer's system that are none of rpm.
var applets = []string{"cat", "chroot", "cp", "find", "ls", "mkdir", "mount", "rm", "sed", "touch", "umount"}

// root makes the installer's system in a directory.
func (m medium) root(t *testing.T, dir string) {
	t.Helper()
	put := func(name, content string) {
		file := filepath.Join(dir, name)
		must(os.MkdirAll(filepath.Dir(file), 0o755))
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			must(os.Symlink(target, file))
			return
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(content, "#!") || strings.HasPrefix(content, "\x7fELF") {
			mode = 0o755
		}
		must(os.WriteFile(file, []byte(content), mode))
	}
	host := func(file string) string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Skipf("needs busybox-static and dash: %v", err)
		}
		return string(data)
	}
	// A shell of busybox would take its own rpm for the one here.
	put("bin/sh", host("/bin/dash"))
	for _, library := range strings.Fields(output(t, nil, "ldd", "/bin/dash")) {
		if strings.HasPrefix(library, "/") {
			put(library, host(library))
		}
	}
	put("bin/busybox", host("/bin/busybox"))
	for _, applet := range applets {
		must(os.Symlink("busybox", filepath.Join(dir, "bin", applet)))
	}
	for _, name := range []string{"dnf", "yum"} {
		put("usr/bin/"+name, dnfProgram)
	}
	for _, name := range []string{"rpm", "rpmkeys"} {
		put("usr/bin/"+name, rpmProgram)
	}
	put("etc/dnf-program", dnfProgram)
	put("etc/medium", m.contents)
	for _, directory := range []string{"dev", "proc", "sys", "run", "tmp", "mnt"} {
		must(os.MkdirAll(filepath.Join(dir, directory), 0o755))
	}
	for name, content := range m.system {
		put(name, content)
	}
	for _, name := range m.lacks {
		must(os.Remove(filepath.Join(dir, name)))
	}
}

// iso returns the medium as an ISO image.
func (m medium) iso(t *testing.T) []byte {
	t.Helper()
	needTools(t, "xorriso", "xorriso", "mksquashfs", "squashfs-tools")
	root, disc := t.TempDir(), t.TempDir()
	m.root(t, root)
	image := filepath.Join(disc, "images/install.img")
	if m.live {
		image = filepath.Join(disc, "LiveOS/squashfs.img")
		live := t.TempDir()
		must(os.Mkdir(filepath.Join(live, "LiveOS"), 0o755))
		ext4(t, filepath.Join(live, "LiveOS/rootfs.img"), root)
		root = live
	}
	must(os.Mkdir(filepath.Dir(image), 0o755))
	output(t, nil, "mksquashfs", root, image, "-noappend", "-quiet", "-no-progress", "-comp", "gzip", "-Xcompression-level", "1")
	for name, content := range m.files {
		file := filepath.Join(disc, name)
		must(os.MkdirAll(filepath.Dir(file), 0o755))
		must(os.WriteFile(file, []byte(content), 0o644))
	}
	file := filepath.Join(t.TempDir(), "medium.iso")
	output(t, nil, "xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", file, disc)
	data, err := os.ReadFile(file)
	must(err)
	return data
}

// ext4 makes a file system with the content of a directory.
func ext4(t *testing.T, file, dir string) {
	t.Helper()
	needTools(t, "mkfs.ext4", "e2fsprogs")
	output(t, nil, "mkfs.ext4", "-q", "-d", dir, file, "16m")
}

// disk returns the medium as a compressed disk image, with the system in the second partition.
func (m medium) disk(t *testing.T) []byte {
	t.Helper()
	root, file := t.TempDir(), filepath.Join(t.TempDir(), "part")
	m.root(t, root)
	ext4(t, file, root)
	system, err := os.ReadFile(file)
	must(err)
	const sector, boot = 512, 2048
	start := 2 * boot
	raw := make([]byte, start*sector+len(system))
	entry := func(i, start, size int, kind byte) {
		at := raw[446+16*i:]
		at[4] = kind
		binary.LittleEndian.PutUint32(at[8:], uint32(start))
		binary.LittleEndian.PutUint32(at[12:], uint32(size))
	}
	entry(0, boot, boot, 0x0c)
	entry(1, start, len(system)/sector, 0x83)
	raw[510], raw[511] = 0x55, 0xaa
	copy(raw[start*sector:], system)
	return compress(t, raw, "xz")
}

// packages are what the medium has if it has any, in a directory of it.
func packages(dir string, more ...string) map[string]string {
	files := map[string]string{dir + "repodata/repomd.xml": "<repomd/>"}
	for _, name := range append([]string{"a-1.noarch.rpm"}, more...) {
		files[dir+"Packages/"+name] = "a package"
	}
	return files
}

func joined(all ...map[string]string) map[string]string {
	sum := make(map[string]string)
	for _, one := range all {
		maps.Copy(sum, one)
	}
	return sum
}

// bsdSums returns a checksum file of files below dir, as BSD's tools write it.
func (m *mirror) bsdSums(dir string, names ...string) []byte {
	var b bytes.Buffer
	for _, name := range names {
		b.WriteString("# " + name + ": 1 bytes\nSHA256 (" + name + ") = " + sha256Of(m.get(dir+"/"+name)) + "\n")
	}
	return b.Bytes()
}

// asked tells whether a file was got from the mirror since its requests were last looked at.
func asked(requests []string, suffix string) bool {
	return slices.ContainsFunc(requests, func(r string) bool { return strings.HasPrefix(r, "GET ") && strings.HasSuffix(r, suffix) })
}

// needUnpacking skips the test where images inside of images cannot be unpacked.
func needUnpacking(t *testing.T) {
	t.Helper()
	if _, err := plan(t, "def made():\n    root = rootfs(image(\"any\"))\n    unpack(root, download(\"http://example.org/x.iso\"), within = [\"x\"])\n    return root\n"); err != nil {
		t.Skipf("unpack cannot look inside of images yet: %v", err)
	}
	if _, err := exec.LookPath("unsquashfs"); err != nil {
		t.Skip("needs unsquashfs of the Debian package squashfs-tools")
	}
}
