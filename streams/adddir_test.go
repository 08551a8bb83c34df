package streams_test

import (
	"strings"
	"testing"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
)

// TestAddDirectory holds that the tarballs in a directory are known by their content,
// as they are when they are named one by one.
func TestAddDirectory(t *testing.T) {
	rootfs := "hsqs rootfs"
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
