// Package unpack knows how archives and images of file systems are unpacked: by which
// program of the host and with which arguments, for what a file is by its first bytes,
// whatever its name. Everything is unpacked into an empty directory, alone in a sandbox; how
// that becomes part of an image is no concern of this package.
package unpack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"imagebuilder/builtins/magic"
)

// A Format is what a file is, and what it holds if it is compressed.
type Format struct {
	Kind   magic.Kind // never a compression
	Packed magic.Kind // the compression, "" if there is none
}

// String is the usual name of the format: "tar.xz", "squashfs".
func (f Format) String() string {
	if f.Packed == "" {
		return string(f.Kind)
	}
	return string(f.Kind) + "." + suffixes[f.Packed]
}

var suffixes = map[magic.Kind]string{
	magic.Bzip2: "bz2", magic.Gzip: "gz", magic.XZ: "xz", magic.LZMA: "lzma", magic.Zstd: "zst",
	magic.Lzip: "lz", magic.Lzop: "lzo", magic.LZ4: "lz4",
}

// Detect tells the format of a file.
func Detect(name string) (Format, error) {
	f, err := os.Open(name)
	if err != nil {
		return Format{}, err
	}
	defer f.Close()
	head, err := magic.Deep(f)
	if err != nil {
		return Format{}, err
	}
	return detect(head, f)
}

// detect tells the format of a file that begins so. What a compressed file holds is told by
// the beginning of that.
func detect(head []byte, whole io.ReaderAt) (Format, error) {
	kind := magic.Of(head)
	if _, compressed := suffixes[kind]; !compressed {
		if kind == "" {
			return Format{}, fmt.Errorf("it is neither an archive nor an image of a file system that is known: it begins with % x", head[:min(len(head), 8)])
		}
		return Format{Kind: kind}, nil
	}
	inner, err := peek(kind, io.NewSectionReader(whole, 0, 1<<62))
	if err != nil {
		return Format{}, fmt.Errorf("cannot read the beginning of what is compressed in it: %w", err)
	}
	f := Format{Kind: magic.Of(inner), Packed: kind}
	if _, again := suffixes[f.Kind]; f.Kind == "" || again {
		return Format{}, fmt.Errorf("what is compressed in it is neither an archive nor an image of a file system that is known: it begins with % x", inner[:min(len(inner), 8)])
	}
	return f, nil
}

// Archive tells whether the file is unpacked as it is. Others are images of disks, or hold
// one: see Raw.
func (f Format) Archive() bool {
	switch f.Kind {
	case magic.Disk, magic.Qcow2, magic.Deb:
		return false
	case magic.Tar, magic.CPIO:
		return true
	}
	return f.Packed == "" || f.Kind == magic.Zip || f.Kind == magic.RPM
}

// FileSystem tells what kind of file system the kernel has to mount to unpack it with these
// options; "" if programs can read it.
func (f Format) FileSystem(o Options) string {
	switch f.Kind {
	case magic.Ext, magic.Btrfs, magic.XFS:
		return string(f.Kind)
	case magic.Squashfs:
		if o.filtered() {
			return string(f.Kind)
		}
	}
	return ""
}

// CheckQcow2 finds out whether a disk image would have the tool read other files than itself.
// See docs/interop/qcow2.txt of QEMU: the backing file is named at byte 8, an external data
// file by the third of the bits at 72.
func CheckQcow2(r io.ReaderAt) error {
	head := make([]byte, 104)
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return err
	}
	if !bytes.Equal(head[8:16], make([]byte, 8)) {
		return errors.New("it is only the difference to another disk image")
	}
	if head[7] > 2 && head[79]&4 != 0 {
		return errors.New("its data are in another file")
	}
	return nil
}
