// Package unpack knows how archives are unpacked: by which program of the host and with
// which arguments, for what a file is by its first bytes, whatever its name. It unpacks into
// an empty directory, alone in a sandbox; how that becomes part of an image is no concern of
// this package.
package unpack

import (
	"errors"
	"fmt"
	"os"
	"path"

	"imagebuilder/builtins/magic"
)

// A Format is a kind of archive.
type Format struct {
	Name    string // "tar.xz", "squashfs"
	program string // that reads it, besides tar
	flag    string // of tar, for its compression
}

// formats are the archives that can be unpacked, by what they begin with: a compressed
// file is taken for a compressed tar archive.
var formats = map[magic.Kind]Format{
	magic.Bzip2:    {"tar.bz2", "bzip2", "--bzip2"},
	magic.Gzip:     {"tar.gz", "gzip", "--gzip"},
	magic.XZ:       {"tar.xz", "xz", "--xz"},
	magic.LZMA:     {"tar.lzma", "lzma", "--lzma"},
	magic.Zstd:     {"tar.zst", "zstd", "--zstd"},
	magic.Lzip:     {"tar.lz", "lzip", "--lzip"},
	magic.Lzop:     {"tar.lzo", "lzop", "--lzop"},
	magic.LZ4:      {"tar.lz4", "lz4", "--use-compress-program=lz4"},
	magic.Tar:      {"tar", "", ""},
	magic.Squashfs: {"squashfs", "unsquashfs", ""},
}

// Detect tells the format of a file.
func Detect(name string) (Format, error) {
	f, err := os.Open(name)
	if err != nil {
		return Format{}, err
	}
	defer f.Close()
	head, err := magic.Head(f)
	if err != nil {
		return Format{}, err
	}
	return detect(head)
}

func detect(head []byte) (Format, error) {
	kind := magic.Of(head)
	if kind == magic.Qcow2 {
		return Format{}, errors.New("it is a qcow2 disk image, not an archive of files")
	}
	if format, ok := formats[kind]; ok {
		return format, nil
	}
	return Format{}, fmt.Errorf("it is neither a tar archive nor a squashfs image: it begins with % x", head[:min(len(head), 8)])
}

// Programs are what the host must have to unpack the format.
func (f Format) Programs() []string {
	if f.Name == "squashfs" {
		return []string{"unsquashfs"}
	}
	if f.program == "" {
		return []string{"tar"}
	}
	return []string{"tar", f.program}
}

// Command is the command line that unpacks file into dir, with all that makes up an
// image: numeric owners, modes, device nodes, extended attributes, capabilities, ACLs.
// A number of leading elements of each name is dropped; squashfs images keep theirs.
func (f Format) Command(file, dir string, strip int) ([]string, error) {
	if f.Name == "squashfs" {
		if strip != 0 {
			return nil, errors.New("names in a squashfs image cannot be stripped")
		}
		return []string{"unsquashfs", "-f", "-n", "-d", dir, file}, nil
	}
	command := []string{"tar", "--extract", "--file=" + file, "--directory=" + dir,
		"--numeric-owner", "--preserve-permissions", "--same-owner", "--xattrs", "--xattrs-include=*", "--acls"}
	if f.flag != "" {
		command = append(command, f.flag)
	}
	if strip != 0 {
		command = append(command, fmt.Sprintf("--strip-components=%d", strip))
	}
	return command, nil
}

// Guess tells the programs that a file of this name is likely to need.
func Guess(name string) []string {
	programs := map[string]string{
		".bz2": "bzip2", ".gz": "gzip", ".tgz": "gzip", ".xz": "xz", ".txz": "xz", ".lzma": "lzma", ".zst": "zstd",
		".lz": "lzip", ".lzo": "lzop", ".lz4": "lz4",
	}
	switch ext := path.Ext(name); {
	case ext == ".squashfs":
		return []string{"unsquashfs"}
	case programs[ext] != "":
		return []string{"tar", programs[ext]}
	}
	return []string{"tar"}
}
