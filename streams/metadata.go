package streams

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"imagebuilder/builtins/unpack"
	"imagebuilder/stdlib"
	"imagebuilder/streams/catalog"
)

// What an archive says it is: this reads files of strangers, so it reads no further than it
// must, and trusts no name in them.

// imageMetadata is what an image says of itself.
type imageMetadata struct {
	Architecture string            `yaml:"architecture"`
	CreationDate int64             `yaml:"creation_date"`
	Properties   map[string]string `yaml:"properties"`
}

const (
	metadataName = "metadata.yaml"
	maxMetadata  = 1 << 20 // bytes of a metadata.yaml
)

// parseMetadata reads a metadata.yaml.
func parseMetadata(data []byte) (*imageMetadata, error) {
	m := new(imageMetadata)
	if err := yaml.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%s: %w", metadataName, err)
	}
	return m, nil
}

// A content is what an archive was found to hold.
type content struct {
	meta   *imageMetadata
	rootfs bool // a directory rootfs: the whole of a container
	disk   bool // a file rootfs.img: the whole of a virtual machine
	lxc    bool // only what LXC wants to know of an image
}

// inspect looks into a tarball, no further than is needed to know what it is. One
// without metadata is the root file system itself.
func inspect(ctx context.Context, f *os.File) (c content, err error) {
	r, err := unpack.Stream(ctx, f)
	if err != nil {
		return c, err
	}
	defer r.Close()
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			c.lxc = c.lxc && c.meta == nil && !c.rootfs && !c.disk
			return c, nil
		}
		if err != nil {
			return c, err
		}
		top, below, _ := strings.Cut(entryName(h.Name), "/")
		switch {
		case top == metadataName:
			if c.meta, err = readMetadata(archive); err != nil {
				return c, err
			}
		case top == "rootfs":
			c.rootfs = true
		case top == "rootfs.img":
			c.disk = true
		case below == "" && h.Typeflag == tar.TypeReg && forLXC.MatchString(top):
			c.lxc = true // if nothing else says what it is
		case top == "." || top == "templates":
		case c.meta == nil:
			return content{}, nil
		}
		if c.meta != nil && (c.rootfs || c.disk) {
			return c, nil
		}
	}
}

// forLXC are the files of which the metadata of an image for LXC consist.
var forLXC = regexp.MustCompile(`^(config(-user)?(\.\d+)?|create-message|excludes-user|expiry|templates|build_id)$`)

// entryName returns the name of an entry without what does not matter.
func entryName(name string) string { return path.Clean(strings.TrimPrefix(path.Clean("/"+name), "/")) }

func readMetadata(r io.Reader) (*imageMetadata, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxMetadata+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxMetadata {
		return nil, fmt.Errorf("%s is larger than %d bytes", metadataName, maxMetadata)
	}
	return parseMetadata(data)
}

// name returns the product that an image belongs to, given what is known better.
func (m *imageMetadata) name(over catalog.Name) (catalog.Name, error) {
	arch := cmp.Or(m.Properties["architecture"], m.Architecture)
	n := catalog.Name{
		Distro:  cmp.Or(over.Distro, strings.ToLower(part(m.Properties["os"]))),
		Release: cmp.Or(over.Release, part(m.Properties["release"])),
		Arch:    cmp.Or(over.Arch, part(stdlib.Debian(arch))),
		Variant: cmp.Or(over.Variant, part(m.Properties["variant"]), "default"),
	}
	for _, part := range []struct{ what, value string }{{"distribution", n.Distro}, {"release", n.Release}, {"architecture", n.Arch}} {
		if part.value == "" {
			return n, fmt.Errorf("the metadata of the image does not say its %s", part.what)
		}
	}
	return n, n.Check()
}

// part makes a part of a product's name of a free text.
func part(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case catalog.CheckPart("x"+string(r)) != nil:
			return -1
		}
		return r
	}, strings.TrimSpace(text))
	return strings.TrimLeft(text, "-.")
}

// version returns the name for a version: the serial of the image, or else the time
// it was made.
func (m *imageMetadata) version(now time.Time) string {
	if serial := m.Properties["serial"]; catalog.Readable(serial) && catalog.CheckVersion(serial) == nil {
		return serial
	}
	if m.CreationDate > 0 {
		now = time.Unix(m.CreationDate, 0)
	}
	return versionName(now)
}

func versionName(t time.Time) string { return t.UTC().Format("20060102_1504") }

// later returns the name of a version one minute later.
func later(version string) (string, error) {
	t, ok := catalog.Time(version)
	if !ok {
		return "", errors.New("no later name can be made of it")
	}
	return versionName(t.Add(time.Minute)), nil
}
