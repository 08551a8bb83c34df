package inventory

import (
	"strings"

	"imagebuilder/streams/catalog"
)

// The names of files are the interface of a site to those who upload. Which names there are and
// what each means is a table, in this file.

// A class is the part a file plays in a version.
type class uint8

const (
	Other      class = iota // of no concern
	metaLXD                 // lxd.tar.xz
	metaIncus               // incus.tar.xz
	squashfs                // root file systems
	rootTarXZ               //
	diskQcow2               //
	DiskUEFI1               //
	DiskDisk1               //
	Delta                   // made from another version
	tarball                 // listed, and nothing else
	SumsFile                // SHA256SUMS
	ConfigFile              // image.yaml
)

// Names of the files that control a version.
const (
	SumsName      = "SHA256SUMS"
	configName    = "image.yaml"
	configNameDoc = "images.yaml" // as the old tool's documentation spells it
)

var exact = map[string]class{
	catalog.LXDMeta:   metaLXD,
	catalog.IncusMeta: metaIncus,
	RootTarXZName:     rootTarXZ,
	"uefi1.img":       DiskUEFI1,
	"disk1.img":       DiskDisk1,
	SumsName:          SumsFile,
	configName:        ConfigFile,
	configNameDoc:     ConfigFile,
}

var suffixes = []struct {
	suffix string
	class  class
}{
	{".squashfs", squashfs},
	{".qcow2", diskQcow2},
	{catalog.DeltaSuffix, Delta},
	{".tar.xz", tarball},
}

// Names of root file systems. The first two win where a version has several files of a
// class.
const (
	SquashfsName  = "rootfs.squashfs"
	DiskName      = "disk.qcow2"
	RootTarXZName = "root.tar.xz"
)

var preferred = map[class]string{squashfs: SquashfsName, diskQcow2: DiskName}

// ftypes of the root file systems.
var ftypes = map[class]string{
	squashfs:  "squashfs",
	rootTarXZ: "root.tar.xz",
	diskQcow2: "disk-kvm.img",
	DiskUEFI1: "uefi1.img",
	DiskDisk1: "disk1.img",
}

// Classify tells by its name what part a file plays. In the old tool's way, other
// metadata and disks than its own are not known.
func Classify(name string, upstream bool) class {
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
		case DiskUEFI1, DiskDisk1:
			return Other
		}
	}
	return c
}

// IsDocument tells by its name whether a file says something of the images beside it: where they
// come from, or what is in them. Nobody lists such files, and so no client sees them; whoever
// knows a version finds them beside its items.
func IsDocument(name string) bool {
	if name == "provenance.json" {
		return true // what nobody has signed
	}
	for _, suffix := range []string{".intoto.jsonl", ".spdx.json", ".cdx.json", ".manifest"} {
		if strings.HasSuffix(name, suffix) && !strings.HasPrefix(name, ".") {
			return true
		}
	}
	return false
}

func (c class) isMeta() bool { return c == metaLXD || c == metaIncus }

// IsRootfs tells whether a file of the class is a root file system.
func (c class) IsRootfs() bool { return ftypes[c] != "" }

// IsDisk tells whether it is one of a virtual machine.
func (c class) IsDisk() bool { return c == diskQcow2 || c == DiskUEFI1 || c == DiskDisk1 }

// IsItem tells whether a file of the class is listed.
func (c class) IsItem() bool { return c != Other && c != SumsFile && c != ConfigFile }

// ClassOf returns the class of a listed file. What counts is what the catalog says
// it is; of metadata, whose tarball it is, which may serve both clients.
func ClassOf(item catalog.Item) class {
	name := item.File()
	for c, ftype := range ftypes {
		if ftype == item.FType {
			return c
		}
	}
	switch {
	case item.FType != catalog.LXDMeta && item.FType != catalog.IncusMeta:
		return tarball
	case exact[name].isMeta():
		return exact[name]
	}
	return exact[item.FType]
}
