// Package unpack knows archives by their first bytes, whatever their names, and the
// program of the host that unpacks each. Where it unpacks to is confined by the sandbox
// the program runs in: nothing but the root file system can be written there.
package unpack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
)

// A Format is a kind of archive.
type Format struct {
	Name    string // "tar.xz", "squashfs"
	program string // that reads it, besides tar
	flag    string // of tar, for its compression
}

// magic is one way an archive can begin. See the tar, gzip, xz, zstd and squashfs
// formats; an lzma file begins with its properties and a dictionary size.
type magic struct {
	offset int
	bytes  string
	format Format
}

var magics = []magic{
	{0, "BZh", Format{"tar.bz2", "bzip2", "--bzip2"}},
	{0, "\x1f\x8b", Format{"tar.gz", "gzip", "--gzip"}},
	{0, "\xfd7zXZ\x00", Format{"tar.xz", "xz", "--xz"}},
	{0, "\x5d\x00\x00", Format{"tar.lzma", "lzma", "--lzma"}},
	{0, "\x28\xb5\x2f\xfd", Format{"tar.zst", "zstd", "--zstd"}},
	{0, "LZIP", Format{"tar.lz", "lzip", "--lzip"}},
	{0, "\x89LZO\x00\r\n\x1a\n", Format{"tar.lzo", "lzop", "--lzop"}},
	{0, "\x04\x22\x4d\x18", Format{"tar.lz4", "lz4", "--use-compress-program=lz4"}},
	{257, "ustar", Format{"tar", "", ""}},
	{0, "hsqs", Format{"squashfs", "unsquashfs", ""}},
}

// Detect tells the format of a file.
func Detect(name string) (Format, error) {
	f, err := os.Open(name)
	if err != nil {
		return Format{}, err
	}
	defer f.Close()
	head := make([]byte, 262)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return Format{}, err
	}
	return detect(head[:n])
}

func detect(head []byte) (Format, error) {
	if bytes.HasPrefix(head, []byte("QFI\xfb")) {
		return Format{}, errors.New("it is a qcow2 disk image, not an archive of files")
	}
	for _, m := range magics {
		if len(head) >= m.offset && bytes.HasPrefix(head[m.offset:], []byte(m.bytes)) {
			return m.format, nil
		}
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
