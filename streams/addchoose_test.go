package streams_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
)

func archive(files ...string) string {
	content := make(map[string]string)
	for _, name := range files {
		content[name] = ""
	}
	return string(imagetree.Tar(content))
}

// TestAddNotWhole holds that no file gets onto a site that is shorter than it says itself, or
// not an image by itself, and that it is named as the user knows it.
func TestAddNotWhole(t *testing.T) {
	metadata, squashfs, disk := metaTar(metadataYAML), imagetree.Squashfs("rootfs"), imagetree.Qcow2("disk")
	root, zipped := archive("etc/", "etc/hostname"), gzipped(metaTar(metadataYAML))
	zeros := strings.Repeat("\x00", 10<<10)
	backed := []byte(disk)
	backed[15] = 104 // where the name of the backing file is
	unified := func(disk string) string {
		return string(imagetree.Tar(map[string]string{"metadata.yaml": metadataYAML, "rootfs.img": disk}))
	}
	tests := []struct{ summary, name, content, err string }{
		{"a squashfs", "rootfs.squashfs", squashfs[:len(squashfs)-10], "it is cut off: "},
		{"a disk", "disk.qcow2", disk[:len(disk)-100], "it is cut off: "},
		{"a disk on another one", "disk.qcow2", string(backed), "it has a backing file"},
		{"a root file system in an archive", "rootfs.tar", root[:len(root)-1024], "it is cut off: the end of the archive is missing"},
		{"compressed metadata", "lxd.tar.gz", zipped[:len(zipped)-10], "unexpected EOF"},
		{"metadata", "lxd.tar", metadata[:len(metadata)-1024], "it is cut off: the end of the archive is missing"},
		{"a squashfs of zeros", "rootfs.squashfs", zeros, "there is nothing in it"},
		{"a disk of zeros", "disk.qcow2", zeros, "there is nothing in it"},
		{"a raw disk of zeros", "uefi1.img", zeros, "it begins with nothing but zeros"},
		{"a unified image", "x.tar.gz", gzipped(unified(disk)[:3000]), "unexpected EOF"},
		{"the disk in a unified image", "x.tar", unified(disk[:len(disk)-100]), "rootfs.img: it is cut off: "},
		{"the end of a unified image", "x.tar", unified(disk)[:len(unified(disk))-1024], "it is cut off: the end of the archive is missing"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			files := map[string]string{test.name: test.content}
			if !strings.HasPrefix(test.name, "x.") {
				files["rootfs2.squashfs"] = squashfs
				if !strings.HasPrefix(test.name, "lxd.") {
					files["lxd.tar.xz"] = metadata
				}
			}
			if test.name == "rootfs.squashfs" {
				delete(files, "rootfs2.squashfs")
			}
			f := newFixture(t)
			_, err := f.add(func(o *streams.AddOptions) {
				for name := range files {
					o.Files = append(o.Files, filepath.Join(built(t, files), name))
				}
			})
			if err == nil || !strings.Contains(err.Error(), "/"+test.name+": ") || !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v", err)
			}
			if f.exists("images/"+ubuntu) && len(f.names("images/"+ubuntu)) > 0 {
				t.Errorf("left over: %v", f.names("images/"+ubuntu))
			}
		})
	}
}

// TestAddDirectoryChoice holds which files of a directory with more than one image in it make
// the one that is added.
func TestAddDirectoryChoice(t *testing.T) {
	content := map[string]string{ // by the stem of the name
		"lxd": metaTar(metadataYAML), "old.lxd": metaTar(metadataYAML + "# older"), "incus": metaTar(metadataYAML),
		"rootfs": archive("etc/", "etc/hostname"), "sources": archive("src/", "src/main.c"),
		"meta":            archive("config", "config-user", "create-message", "expiry", "templates"),
		"box":             string(imagetree.Tar(map[string]string{"metadata.yaml": metadataYAML, "rootfs/": "", "rootfs/x": "x"})),
		"rootfs.squashfs": imagetree.Squashfs("rootfs"), "a.squashfs": imagetree.Squashfs("a"), "b.squashfs": imagetree.Squashfs("b"),
		"disk.qcow2": imagetree.Qcow2("disk"), "image.yaml": "simplestream: {}",
	}
	tests := []struct {
		summary string
		files   string // names, the oldest first; +: as old as the one before, old.: of an earlier build
		listed  string // in SHA256SUMS
		has     string // the version, but for SHA256SUMS
		err     string
	}{
		{"LXD's and LXC's results", "lxd.tar.xz rootfs.squashfs meta.tar.xz rootfs.tar.xz", "", "lxd.tar.xz rootfs.squashfs", ""},
		{"a VM beside LXC's results", "meta.tar.xz rootfs.tar.xz lxd.tar.xz disk.qcow2", "", "disk.qcow2 lxd.tar.xz", ""},
		{"a unified image beside LXC's results", "meta.tar.xz rootfs.tar.xz box.tar.gz", "", "lxd.tar.xz root.tar.xz", ""},
		{"metadata with LXC's root file system", "lxd.tar.xz meta.tar.xz rootfs.tar.xz", "", "lxd.tar.xz root.tar.xz", ""},
		{"LXC's results alone", "meta.tar.xz rootfs.tar.xz", "", "", "meta.tar.xz is for LXC, which takes no images from a server of this kind"},
		{"metadata of an earlier build", "old.lxd.tar.gz lxd.tar.xz rootfs.squashfs", "", "lxd.tar.xz rootfs.squashfs", ""},
		{"that has the usual name", "old.lxd.tar.xz lxd.tar.gz rootfs.squashfs", "", "lxd.tar.xz rootfs.squashfs", ""},
		{"the root file system of one", "rootfs.tar.gz lxd.tar.xz rootfs.tar.xz", "", "lxd.tar.xz root.tar.xz", ""},
		{"the checksums tell", "lxd.tar.xz rootfs.squashfs old.lxd.tar.gz", "lxd.tar.xz", "lxd.tar.xz rootfs.squashfs", ""},
		{"nothing tells", "rootfs.squashfs lxd.tar.gz +lxd.tar.xz", "", "", "lxd.tar.xz would both become lxd.tar.xz: add the one that is meant"},
		{"two of a kind that are not one of an earlier build", "lxd.tar.xz a.squashfs b.squashfs", "", "", "b.squashfs would both become rootfs.squashfs"},
		{"another archive", "lxd.tar.xz rootfs.squashfs sources.tar.gz", "", "lxd.tar.xz rootfs.squashfs", ""},
		{"a unified image with its definition", "box.tar.gz image.yaml", "", "image.yaml lxd.tar.xz root.tar.xz", ""},
		{"a unified and a split image", "box.tar.gz lxd.tar.xz rootfs.squashfs", "", "", "a unified image is added alone, and "},
		{"metadata for Incus", "incus.tar.gz rootfs.squashfs", "", "incus.tar.xz rootfs.squashfs", ""},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			source := t.TempDir()
			when := time.Now().Add(-time.Hour)
			for word := range strings.FieldsSeq(test.files) {
				word, same := strings.CutPrefix(word, "+")
				stem, _, _ := strings.Cut(word, ".tar")
				text := content[stem]
				if strings.HasSuffix(word, ".gz") {
					text = gzipped(text)
				}
				name := strings.TrimPrefix(word, "old.")
				if name == test.listed {
					f := fmt.Appendf(nil, "%s  %s\n", sha256Hex(text), name)
					os.WriteFile(filepath.Join(source, "SHA256SUMS"), f, 0o644)
				}
				file := filepath.Join(source, name)
				if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				if !same {
					when = when.Add(time.Minute)
				}
				os.Chtimes(file, when, when)
			}
			f := newFixture(t)
			added, err := f.add(func(o *streams.AddOptions) { o.Files = []string{source} })
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(f.names(added.Path), " "); got != "SHA256SUMS "+test.has {
				t.Errorf("files: %s", got)
			}
			if f.exists(added.Path+"/lxd.tar.xz") && strings.Contains(f.read(added.Path+"/lxd.tar.xz"), "# older") {
				t.Error("it has the metadata of an earlier build")
			}
			if test.listed != "" && !f.said("Left out", "SHA256SUMS lists "+test.listed+" and not this one") {
				t.Errorf("it does not say why: %s", &f.log)
			}
			if strings.Contains(test.files, "meta.") && !f.said("Left out", "it is metadata for LXC") {
				t.Errorf("it does not say what is left out: %s", &f.log)
			}
		})
	}
}
