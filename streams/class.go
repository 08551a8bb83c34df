package streams

import (
	"strings"

	"imagebuilder/streams/catalog"
)

// A class is the part a file plays in a version.
type class uint8

const (
	other      class = iota // of no concern
	metaLXD                 // lxd.tar.xz
	metaIncus               // incus.tar.xz
	squashfs                // root file systems
	rootTarXZ               //
	diskQcow2               //
	diskUEFI1               //
	diskDisk1               //
	delta                   // made from another version
	tarball                 // listed, and nothing else
	sumsFile                // SHA256SUMS
	configFile              // image.yaml
)

// Names of the files that control a version.
const (
	sumsName      = "SHA256SUMS"
	configName    = "image.yaml"
	configNameDoc = "images.yaml" // as the old tool's documentation spells it
)

var exact = map[string]class{
	catalog.LXDMeta:   metaLXD,
	catalog.IncusMeta: metaIncus,
	"root.tar.xz":     rootTarXZ,
	"uefi1.img":       diskUEFI1,
	"disk1.img":       diskDisk1,
	sumsName:          sumsFile,
	configName:        configFile,
	configNameDoc:     configFile,
}

var suffixes = []struct {
	suffix string
	class  class
}{
	{".squashfs", squashfs},
	{".qcow2", diskQcow2},
	{catalog.DeltaSuffix, delta},
	{".tar.xz", tarball},
}

// preferred is the name that wins where a version has several files of a class.
var preferred = map[class]string{squashfs: "rootfs.squashfs", diskQcow2: "disk.qcow2"}

// ftypes of the root file systems.
var ftypes = map[class]string{
	squashfs:  "squashfs",
	rootTarXZ: "root.tar.xz",
	diskQcow2: "disk-kvm.img",
	diskUEFI1: "uefi1.img",
	diskDisk1: "disk1.img",
}

// classify tells by its name what part a file plays. In the old tool's way, other
// metadata and disks than its own are not known.
func classify(name string, upstream bool) class {
	c, ok := exact[name]
	for _, s := range suffixes {
		if !ok && strings.HasSuffix(name, s.suffix) && !strings.HasPrefix(name, ".") {
			c, ok = s.class, true
		}
	}
	if upstream {
		switch c {
		case metaIncus:
			return tarball
		case diskUEFI1, diskDisk1:
			return other
		}
	}
	return c
}

func (c class) isMeta() bool { return c == metaLXD || c == metaIncus }

func (c class) isRootfs() bool { return ftypes[c] != "" }

// isItem tells whether a file of the class is listed.
func (c class) isItem() bool { return c != other && c != sumsFile && c != configFile }

// deltaNameOf returns the name of the delta that makes an item from the same item
// of the version base.
func deltaNameOf(item, base string) string {
	if stem, ok := strings.CutSuffix(item, ".qcow2"); ok {
		return stem + "." + base + ".qcow2" + catalog.DeltaSuffix
	}
	stem := strings.TrimSuffix(item, ".squashfs")
	return stem + "." + base + catalog.DeltaSuffix
}
