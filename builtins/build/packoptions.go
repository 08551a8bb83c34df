package build

import (
	"imagebuilder/builtins/options"
	"imagebuilder/builtins/pack"
)

// What can be said of a packed image is said here once: for the words that pack, for the
// command lines that mean them, and for the recipes that definitions are translated into.

// Forms of images for LXD.
const (
	Split   = "split"   // metadata and root file system, a file each
	Unified = "unified" // one archive
)

// LXDOptions are the options of packing for LXD.
type LXDOptions struct {
	options.Table
	Form        string
	Compression pack.Compression
	Packer      string
	Disk        bool // the root file system is on a disk, which is compressed in its own way
}

// ForLXD returns the options of packing for LXD, all at their defaults.
func ForLXD(spell options.Spelling) *LXDOptions {
	o := &LXDOptions{Table: options.New(spell), Form: Split, Compression: pack.Default, Packer: pack.Own}
	o.Add(
		&options.Setting{
			Name: "type", To: &o.Form, Values: []string{Split, Unified},
			Help: "`form` of the image: metadata and root file system apart, or unified in one archive",
		},
		compressionSetting(&o.Compression, func() error {
			err := o.Compression.CheckTar()
			if err == nil && o.Form == Split && !o.Disk {
				_, err = o.Compression.Squashfs()
			}
			return err
		}),
		&options.Setting{
			Name: "packer", To: &o.Packer, Values: []string{pack.Own, pack.Mksquashfs},
			Help: "`program` that makes the squashfs image: our own, which compresses nothing twice, or that of squashfs-tools",
		},
	)
	return o
}

// ArchiveOptions are the options of packing as an archive.
type ArchiveOptions struct {
	options.Table
	Compression pack.Compression
}

// ForLXC returns the options of packing for LXC, all at their defaults.
func ForLXC(spell options.Spelling) *ArchiveOptions {
	o := &ArchiveOptions{Table: options.New(spell), Compression: pack.Default}
	o.Add(compressionSetting(&o.Compression, func() error { return o.Compression.CheckTar() }))
	return o
}

// ForContainers returns the options of packing as a container image, all at their defaults: gzip is
// what everything that takes one reads.
func ForContainers(spell options.Spelling) *ArchiveOptions {
	o := &ArchiveOptions{Table: options.New(spell), Compression: pack.Compression{Method: "gzip", Level: -1}}
	o.Add(compressionSetting(&o.Compression, func() error { return o.Compression.CheckLayer() }))
	return o
}

func compressionSetting(c *pack.Compression, check func() error) *options.Setting {
	return &options.Setting{Name: "compression", To: c, Help: "`method` or method-level to compress with: " + pack.Methods(), Check: check}
}
