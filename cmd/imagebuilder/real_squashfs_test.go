package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Debian boots from each kind of squashfs that we write, as LXD unpacks or mounts it. What is
// packed is built once.
func TestSquashfsBootsInLXD(t *testing.T) {
	archive, security := mirrors(t)
	lxd := startLXD(t)
	methods := []string{"xz"}
	if os.Getenv("IMAGEBUILDER_TEST_ALL") != "" {
		methods = append(methods, "zstd", "gzip", "lz4")
	}
	for _, method := range methods {
		t.Run(method, func(t *testing.T) {
			out := t.TempDir()
			imagebuilder(t, "run", "debian", out, "--cache", sharedCache(t), "-o", "release=trixie",
				"-o", "mirror="+archive, "-o", "security_mirror="+security, "-o", "compression="+method)
			metadata, err := filepath.Glob(out + "/lxd.tar*") // LXD takes no archive of lz4: then it is not compressed
			if err != nil || len(metadata) != 1 {
				t.Fatalf("metadata: %v, %v", metadata, err)
			}
			lxd.lxc(t, "image", "import", metadata[0], out+"/rootfs.squashfs", "--alias", "image")
			defer lxd.lxc(t, "image", "delete", "image")
			lxd.checkContainer(t, "image")
		})
	}
}
