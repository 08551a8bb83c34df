package sources_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// disk returns an image of a disk with two partitions, of which the second has the file
// system of the archive and the first nothing.
func (a archive) disk(t *testing.T) []byte {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: owners of files")
	}
	const unit = 1 << 20
	tree, image := t.TempDir(), filepath.Join(t.TempDir(), "ext4")
	tar := exec.Command("tar", "-x", "-p", "--numeric-owner", "-C", tree)
	tar.Stdin = bytes.NewReader(a.tar(t))
	if out, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	mke2fs := exec.Command("mke2fs", "-q", "-t", "ext4", "-d", tree, image, "8M")
	if out, err := mke2fs.CombinedOutput(); err != nil {
		t.Skipf("needs the Debian package e2fsprogs: %v: %s", err, out)
	}
	data, err := os.ReadFile(image)
	must(err)
	disk := make([]byte, 2*unit, 2*unit+len(data))
	disk = append(disk, data...)
	for i, part := range []struct {
		kind         byte
		start, bytes int
	}{{0x0c, unit, unit}, {0x83, 2 * unit, len(data)}} {
		entry := disk[446+16*i:]
		entry[4] = part.kind
		binary.LittleEndian.PutUint32(entry[8:], uint32(part.start/512))
		binary.LittleEndian.PutUint32(entry[12:], uint32(part.bytes/512))
	}
	disk[510], disk[511] = 0x55, 0xaa
	return disk
}

func TestUbuntuCore(t *testing.T) {
	const dir = "ubuntu-core/24/stable/current/"
	a := archive{id: "core"}
	data := compress(t, a.disk(t), "xz")
	s := scenario{
		function: "ubuntu ubuntu_http",
		image:    `"ubuntu", "24", variant = "core"`,
		path:     "ubuntu-core",
		fill: func(m *mirror, by keys) {
			m.put(dir+"ubuntu-core-24-amd64.img.xz", data)
			m.put(dir+"ubuntu-core-24-arm64.img.xz", nil)
			m.put(dir+"SHA256SUMS", sums("*", m, dir+"ubuntu-core-24-amd64.img.xz"))
			m.put(dir+"SHA256SUMS.gpg", by.detached(m.get(dir+"SHA256SUMS")))
			m.put("ubuntu-core/18/stable/current/x", nil)
		},
		archive: dir + "ubuntu-core-24-amd64.img.xz",
		want:    a,
	}
	s.test(t,
		fault{"checksums that are missing", func(m *mirror) { m.remove(dir + "SHA256SUMS") }, "", "", []string{"SHA256SUMS: the server says 404"}},
		fault{"a release that is not there", nil, `"ubuntu", "20", variant = "core"`, "", []string{"18", "24"}},
		fault{"an architecture without an image", nil, `"ubuntu", "24", variant = "core", architecture = "riscv64"`, "", []string{"ubuntu-core-24-amd64.img.xz"}},
	)
}
