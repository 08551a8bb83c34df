// Package imagetree makes small trees of images for tests: files that are what they
// look like at the front and as compressible as real ones behind it, the same bytes
// for the same names every time.
package imagetree

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"imagebuilder/streams/catalog"
)

// A Sample is one version to make.
type Sample struct {
	Stream  string            // "": images
	Product string            // "ubuntu/noble/amd64/default"
	Version string            //
	Files   []string          // names; nil: lxd.tar.xz, rootfs.squashfs and disk.qcow2
	Size    int               // of each root file system; 0: 4096
	Same    bool              // content does not depend on the version
	Sums    bool              // with a right SHA256SUMS
	Extra   map[string]string // further files, and their content
}

// Dir returns the directory of the version, from the root.
func (i Sample) Dir() string {
	stream := i.Stream
	if stream == "" {
		stream = "images"
	}
	return filepath.Join(stream, i.Product, i.Version)
}

// Make adds images to the tree at root. The times of files are those of the versions,
// so that they count as old.
func Make(root string, images ...Sample) error {
	for _, i := range images {
		if err := i.make(root); err != nil {
			return err
		}
	}
	return nil
}

func (i Sample) make(root string) error {
	dir := filepath.Join(root, i.Dir())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	names := i.Files
	if names == nil {
		names = []string{"lxd.tar.xz", "rootfs.squashfs", "disk.qcow2"}
	}
	files := make(map[string][]byte)
	for _, name := range names {
		files[name] = i.content(name)
	}
	if i.Sums {
		files["SHA256SUMS"] = sums(files)
	}
	for name, text := range i.Extra {
		files[name] = []byte(text)
	}
	when, ok := catalog.Time(strings.TrimPrefix(i.Version, "."))
	if !ok {
		when = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	for name, data := range files {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return err
		}
		if err := os.Chtimes(file, when, when); err != nil {
			return err
		}
	}
	return os.Chtimes(dir, when, when)
}

func sums(files map[string][]byte) []byte {
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var out bytes.Buffer
	for _, name := range names {
		fmt.Fprintf(&out, "%x  %s\n", sha256.Sum256(files[name]), name)
	}
	return out.Bytes()
}

func (i Sample) content(name string) []byte {
	switch {
	case strings.HasSuffix(name, ".squashfs"):
		return append([]byte("hsqs"), i.payload(name)...)
	case strings.HasSuffix(name, ".qcow2"):
		return append([]byte("QFI\xfb"), i.payload(name)...)
	case name == catalog.LXDMeta, name == catalog.IncusMeta:
		return Metadata(i.Product, i.Version)
	}
	return i.payload(name)
}

// payload is the same for all versions but for one sixteenth.
func (i Sample) payload(name string) []byte {
	size := i.Size
	if size == 0 {
		size = 4096
	}
	data := random(size, i.Product, name)
	if !i.Same {
		copy(data[size/2:], random(size/16, i.Product, name, i.Version))
	}
	return data
}

// random returns bytes that look random and depend on the seed only.
func random(n int, seed ...string) []byte {
	src := rand.NewChaCha8(sha256.Sum256([]byte(strings.Join(seed, "\x00"))))
	data := make([]byte, n)
	src.Read(data) // never fails
	return data
}

// Metadata returns the metadata tarball of an image, not compressed.
func Metadata(product, version string) []byte {
	parts := strings.Split(product, "/")
	created, _ := catalog.Time(strings.TrimPrefix(version, "."))
	text := fmt.Sprintf("architecture: %s\ncreation_date: %d\nproperties:\n  os: %s\n  release: %s\n  variant: %s\n  serial: %q\ntemplates: {}\n",
		parts[2], created.Unix(), parts[0], parts[1], parts[3], strings.TrimPrefix(version, "."))
	return Tar(map[string]string{"metadata.yaml": text, "templates/": ""})
}

// Tar returns an archive of files; a name that ends in a slash is a directory.
func Tar(files map[string]string) []byte {
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range names {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		w.WriteHeader(h) // writing to memory does not fail
		w.Write([]byte(files[name]))
	}
	w.Close()
	return out.Bytes()
}
