package host

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// The programs that are known, so that whatever is missing is named with the package that
// brings it, before work starts.

// A Tool is a program of the host that some part of the work is left to, since it is
// the reference for it and the fastest, or a file that belongs to one.
type Tool struct {
	Name    string   // of a file: its absolute path
	Package string   // Debian package that brings it
	For     string   // what needs it
	Version []string // arguments that make it print its version; nil: it tells none
}

var tools = []Tool{
	{"/usr/share/AAVMF/AAVMF_CODE.fd", "qemu-efi-aarch64", "boot: the firmware of aarch64", nil},
	{"/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf", "boot: the firmware of x86_64", nil},
	{"bsdtar", "libarchive-tools", "unpack: media, packages, and what is left out of archives", []string{"--version"}},
	{"btrfs", "btrfs-progs", "btrfs disks of virtual machines", []string{"--version"}},
	{"bzip2", "bzip2", "--compression bzip2", []string{"--version"}},
	{"debootstrap", "debootstrap", "Debian and Ubuntu images, where mmdebstrap cannot serve", []string{"--version"}},
	{"genisoimage", "genisoimage", "repack_windows: media", []string{"--version"}},
	{"gzip", "gzip", "--compression gzip", []string{"--version"}},
	{"hivexregedit", "libwin-hivex-perl", "repack_windows: the registry", nil},
	{"lzip", "lzip", "--compression lzip", []string{"--version"}},
	{"lzma", "xz-utils", "--compression lzma", []string{"--version"}},
	{"lzop", "lzop", "--compression lzo", []string{"--version"}},
	{"mcopy", "mtools", "disks of virtual machines; unpack: FAT file systems", []string{"--version"}},
	{"mke2fs", "e2fsprogs", "disks of virtual machines", []string{"-V"}},
	{"mkfs.btrfs", "btrfs-progs", "btrfs disks of virtual machines", []string{"--version"}},
	{"mkfs.vfat", "dosfstools", "disks of virtual machines", nil},
	{"mksquashfs", "squashfs-tools", "--packer mksquashfs; --compression lzma and lzo of LXD container images", []string{"-version"}},
	{"mmdebstrap", "mmdebstrap", "Debian and Ubuntu images, faster than debootstrap", []string{"--version"}},
	{"qemu-img", "qemu-utils", "disks of virtual machines, boot; unpack: qcow2 images", []string{"--version"}},
	{"qemu-system-aarch64", "qemu-system-arm", "boot: images for aarch64", []string{"--version"}},
	{"qemu-system-x86_64", "qemu-system-x86", "boot: images for x86_64", []string{"--version"}},
	{"sgdisk", "gdisk", "disks of virtual machines", []string{"--version"}},
	{"tar", "tar", "LXC and unified images, metadata of all images", []string{"--version"}},
	{"unsquashfs", "squashfs-tools", "unpack: squashfs images", []string{"-version"}},
	{"wimlib-imagex", "wimtools", "repack_windows: images", []string{"--version"}},
	{"xdelta3", "xdelta3", "deltas between the versions of an image server", []string{"-V"}},
	{"xz", "xz-utils", "compression of all images unless said otherwise", []string{"--version"}},
	{"zstd", "zstd", "--compression zstd", []string{"--version"}},
}

// Tools returns the known tools, sorted by name.
func Tools() []Tool {
	list := append([]Tool(nil), tools...)
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// NeedsRoot tells whether a program does what only the machine's root may, and who runs this is
// another. It is as good as not there then.
func NeedsRoot(name string) bool {
	return name == debootstrap && (os.Geteuid() != 0 || Confined()) // it insists on device nodes
}

const debootstrap, mmdebstrap = "debootstrap", "mmdebstrap"

// Installed tells whether the host has a program, or a file of an absolute path, for those who
// run this.
func Installed(name string) bool {
	if NeedsRoot(name) {
		return false
	}
	if strings.HasPrefix(name, "/") {
		_, err := os.Stat(name)
		return err == nil
	}
	_, err := exec.LookPath(name)
	return err == nil
}

// Find returns the file of a program, for those whose environment does not say where
// programs are.
func Find(name string) (string, error) {
	file, err := exec.LookPath(name)
	if err != nil {
		return "", Missing(name, "")
	}
	return filepath.Abs(file)
}

// Missing is the error of a program or a file that the host does not have. pkg is the
// Debian package that brings it, if the caller knows; the known tools have theirs.
func Missing(name, pkg string) error {
	if NeedsRoot(name) {
		if Installed(mmdebstrap) {
			return fmt.Errorf("%s makes device nodes, which only the machine's root can: run this as root, or insist on %s", name, mmdebstrap)
		}
		return fmt.Errorf("%s makes device nodes, which only the machine's root can; for others %s takes its place: apt-get install %[2]s, or run this as root", name, mmdebstrap)
	}
	for _, t := range tools {
		if t.Name == name && pkg == "" {
			pkg = t.Package
		}
	}
	if pkg == "" && strings.Contains(name, "/") {
		return fmt.Errorf("%s is not there", name)
	}
	if pkg == "" {
		return fmt.Errorf("%s is not installed", name)
	}
	return fmt.Errorf("%s is not installed; the Debian package %s brings it: apt-get install %s", name, pkg, pkg)
}

// VersionLine asks an installed tool for the first line of its version. That of a file is
// empty.
func (t Tool) VersionLine(ctx context.Context) string {
	if t.Version == nil {
		return ""
	}
	var out bytes.Buffer
	err := Command{Args: append([]string{t.Name}, t.Version...), Stdout: &out, Stderr: &out}.Run(ctx)
	line, _, _ := strings.Cut(out.String(), "\n")
	if line == "" && err != nil {
		return err.Error()
	}
	return line
}

// Environ is the environment of the host's own tools: nothing of the caller's but
// where programs are. What dates its results is told the time by [Epoch.In].
func Environ(extra map[string]string) []string {
	vars := map[string]string{
		"PATH":   os.Getenv("PATH"),
		"HOME":   "/tmp",
		"TMPDIR": "/tmp",
		"LC_ALL": "C.UTF-8",
	}
	for key, value := range extra {
		vars[key] = value
	}
	list := make([]string, 0, len(vars))
	for key, value := range vars {
		list = append(list, key+"="+value)
	}
	sort.Strings(list)
	return list
}
