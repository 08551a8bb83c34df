package streams_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
)

// TestAddDirectory holds that the tarballs in a directory are known by their content,
// as they are when they are named one by one.
func TestAddDirectory(t *testing.T) {
	rootfs := imagetree.Squashfs("rootfs")
	tests := []struct {
		summary string
		files   map[string]string
		has     string
	}{{
		summary: "metadata of another compression",
		files:   map[string]string{"lxd.tar.gz": gzipped(metaTar(metadataYAML)), "rootfs.squashfs": rootfs},
		has:     "SHA256SUMS lxd.tar.xz rootfs.squashfs",
	}, {
		summary: "metadata that is not compressed",
		files:   map[string]string{"meta.tar": metaTar(metadataYAML), "rootfs.squashfs": rootfs},
		has:     "SHA256SUMS lxd.tar.xz rootfs.squashfs",
	}, {
		summary: "what is about a tarball, or hidden, is none",
		files: map[string]string{
			"lxd.tar.gz": gzipped(metaTar(metadataYAML)), "rootfs.squashfs": rootfs, "lxd.tar.gz.asc": "signature",
			".lxd.tar.gz": gzipped(metaTar(metadataYAML)), "x.tar.xz.vcdiff": "\xd6\xc3\xc4",
		},
		has: "SHA256SUMS lxd.tar.xz rootfs.squashfs",
	}, {
		summary: "a unified image",
		files: map[string]string{"test.tar.gz": gzipped(string(imagetree.Tar(map[string]string{
			"metadata.yaml": metadataYAML, "rootfs/": "", "rootfs/x": "x",
		})))},
		has: "SHA256SUMS lxd.tar.xz root.tar.xz",
	}, {
		summary: "what says something of the image comes with it",
		files: map[string]string{
			"lxd.tar.gz": gzipped(metaTar(metadataYAML)), "rootfs.squashfs": rootfs, "provenance.intoto.jsonl": "{}",
			"rootfs.spdx.json": "{}", "rootfs.cdx.json": "{}", "rootfs.manifest": "x 1", ".old.manifest": "x 1", "notes.json": "{}",
		},
		has: "SHA256SUMS lxd.tar.xz provenance.intoto.jsonl rootfs.cdx.json rootfs.manifest rootfs.spdx.json rootfs.squashfs",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f := newFixture(t)
			added, err := f.add(func(o *streams.AddOptions) { o.Files = []string{built(t, test.files)} })
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(f.names(added.Path), " "); got != test.has {
				t.Errorf("files: %s", got)
			}
			f.build()
			f.verify()
		})
	}
}

// TestAddDirectorySums holds that hashes which come with an image are not replaced by those
// of damaged files.
func TestAddDirectorySums(t *testing.T) {
	metadata, rootfs, config := gzipped(metaTar(metadataYAML)), imagetree.Squashfs("rootfs"), "image: {}"
	unified := gzipped(string(imagetree.Tar(map[string]string{"metadata.yaml": metadataYAML, "rootfs/": "", "rootfs/x": "x"})))
	split := map[string]string{"lxd.tar.gz": metadata, "rootfs.squashfs": rootfs, "image.yaml": config}
	tests := []struct {
		summary string
		files   map[string]string
		sums    map[string]string // what SHA256SUMS says the content of a file is
		err     string
	}{
		{"all is as it should be", split, split, ""},
		{"not all is listed", split, map[string]string{"rootfs.squashfs": rootfs}, ""},
		{"a damaged root file system", split, map[string]string{"rootfs.squashfs": "x"}, "rootfs.squashfs is damaged: its SHA-256 is "},
		{"damaged metadata, which is renamed", split, map[string]string{"lxd.tar.gz": "x"}, "lxd.tar.gz is damaged"},
		{"a damaged definition", split, map[string]string{"image.yaml": "x"}, "image.yaml is damaged"},
		{"a missing disk", split, map[string]string{"disk.qcow2": "x"}, "lists disk.qcow2, which is not there"},
		{"something else is missing", split, map[string]string{"README": "x"}, ""},
		{"a unified image", map[string]string{"x.tar.gz": unified}, map[string]string{"x.tar.gz": unified}, ""},
		{"a damaged unified image", map[string]string{"x.tar.gz": unified}, map[string]string{"x.tar.gz": "x"}, "x.tar.gz is damaged"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			files := maps.Clone(test.files)
			for name, content := range test.sums {
				files["SHA256SUMS"] += digest.Sum([]byte(content)).String() + "  " + name + "\n"
			}
			f := newFixture(t)
			added, err := f.add(func(o *streams.AddOptions) { o.Files = []string{built(t, files)} })
			if test.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				f.build()
				f.verify()
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v, want %q", err, test.err)
			}
			if added.Path != "" {
				t.Errorf("added %+v", added)
			}
		})
	}
}

// Files that are named by themselves are no better than those of a directory.
func TestAddNamedSums(t *testing.T) {
	dir := built(t, map[string]string{
		"lxd.tar.gz": gzipped(metaTar(metadataYAML)), "rootfs.squashfs": imagetree.Squashfs("rootfs"),
		"SHA256SUMS": digest.Sum([]byte("x")).String() + "  rootfs.squashfs\n" + digest.Sum([]byte("y")).String() + "  disk.qcow2\n",
	})
	f := newFixture(t)
	_, err := f.add(func(o *streams.AddOptions) { o.Files = []string{dir + "/lxd.tar.gz", dir + "/rootfs.squashfs"} })
	if err == nil || !strings.Contains(err.Error(), "rootfs.squashfs is damaged: its SHA-256 is ") {
		t.Errorf("got %v", err)
	}
}

// TestAddDirectoryAbove holds that the hashes of documents are none of images, also in a directory
// whose path begins with a dot.
func TestAddDirectoryAbove(t *testing.T) {
	files := map[string]string{"a.manifest": "a 1", "lxd.tar.gz": gzipped(metaTar(metadataYAML)), "rootfs.squashfs": imagetree.Squashfs("rootfs"), "rootfs.squashfs.spdx.json": "{}"}
	for name, content := range maps.Clone(files) {
		files["SHA256SUMS"] += digest.Sum([]byte(content)).String() + "  " + name + "\n"
	}
	dir := built(t, files)
	f := newFixture(t)
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	above, err := filepath.Rel(wd, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.add(func(o *streams.AddOptions) { o.Files = []string{above} }); err != nil {
		t.Error(err)
	}
}
