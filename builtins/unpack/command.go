package unpack

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/magic"
)

// Which programs unpack what, and how they are called.

// Options say what of an archive is unpacked.
type Options struct {
	Strip   int      // leading elements of each name that are dropped
	Only    []string // patterns of names, in which a * stands for anything; a directory is all below it
	Exclude []string // the same
}

func (o Options) filtered() bool { return o.Strip != 0 || len(o.Only) > 0 || len(o.Exclude) > 0 }

// Where programs in the sandbox find things.
type Places struct {
	File string // the archive
	Tree string // the mounted file system, if it is one
	Out  string // the empty directory to unpack into
	Into string // the directory of the image that it will be
}

// flags are GNU tar's for each compression, by the program that reads it.
var flags = map[magic.Kind]struct{ program, flag string }{
	magic.Bzip2: {"bzip2", "--bzip2"},
	magic.Gzip:  {"gzip", ""}, // see gunzip
	magic.XZ:    {"xz", "--xz"},
	magic.LZMA:  {"lzma", "--lzma"},
	magic.Zstd:  {"zstd", "--zstd"},
	magic.Lzip:  {"lzip", "--lzip"},
	magic.Lzop:  {"lzop", "--lzop"},
	magic.LZ4:   {"lz4", "--use-compress-program=lz4"},
}

// byTar tells whether GNU tar does it, which is the fastest for what is unpacked whole. Of the
// two, only bsdtar takes a name that begins with "./" for the same as one that does not.
func (f Format) byTar(o Options) bool { return f.Kind == magic.Tar && !o.filtered() }

// Programs are what the host must have to unpack the format so.
func (f Format) Programs(o Options) []string {
	packed := []string{}
	if p := flags[f.Packed].program; p != "" {
		packed = append(packed, p)
	}
	switch {
	case f.byTar(o):
		return append([]string{"tar"}, packed...)
	case f.FileSystem(o) != "" && !o.filtered():
		return []string{"cp"}
	case f.Kind == magic.Squashfs && !o.filtered():
		return []string{"unsquashfs"}
	case f.Kind == magic.FAT:
		return []string{"mcopy"}
	case f.Kind == magic.Tar || f.Packed == magic.Lzop || f.Packed == magic.LZ4: // of others, bsdtar reads the rest itself
		return append([]string{"bsdtar"}, packed...)
	}
	return []string{"bsdtar"}
}

// Script is what unpacks a file, with all that makes up an image: numeric owners, modes,
// device nodes, extended attributes, capabilities, ACLs.
func (f Format) Script(p Places, o Options) (string, error) {
	if f.Kind == magic.FAT {
		if o.filtered() {
			return "", errors.New("nothing can be left out of a FAT file system")
		}
		return script("export MTOOLS_SKIP_CHECK=1", host.Quote([]string{"mcopy", "-s", "-n", "-Q", "-m", "-i", p.File, "::/*", p.Out})), nil
	}
	return script(o.judged(p, f.command(p, o))), nil
}

// command is what does the work.
func (f Format) command(p Places, o Options) string {
	extract := bsdtar(p, o)
	switch {
	case f.byTar(o) && f.Packed == magic.Gzip:
		return gunzip(p.File) + " | " + host.Quote(tar("-", p.Out))
	case f.byTar(o):
		command := tar(p.File, p.Out)
		if flag := flags[f.Packed].flag; flag != "" {
			command = append(command, flag)
		}
		return host.Quote(command)
	case f.Kind == magic.Squashfs && !o.filtered():
		return host.Quote([]string{"unsquashfs", "-f", "-n", "-d", p.Out, p.File})
	case f.FileSystem(o) != "" && !o.filtered():
		return host.Quote([]string{"cp", "--archive", "--sparse=always", p.Tree + "/.", p.Out})
	case f.FileSystem(o) != "":
		create := host.Quote([]string{"bsdtar", "--create", "--file=-", "--format=pax", "--xattrs", "--acls", "--directory=" + p.Tree, "."})
		return create + " | " + host.Quote(append(extract, "--file=-"))
	case f.Kind == magic.Tar && f.Packed != "": // bsdtar would do both in turns, and xz with one processor
		return decompress(p.File, f.Packed) + " | " + host.Quote(append(extract, "--file=-"))
	}
	return host.Quote(append(extract, "--file="+p.File))
}

// script has xz use all processors where a file has several blocks; what is called so and
// cannot do that does not look at the variable.
func script(lines ...string) string {
	return "#!/bin/bash\nset -e -o pipefail\nexport XZ_DEFAULTS=-T0\n" + strings.Join(lines, "\n") + "\n"
}

// gunzip is a command that writes the content of a file. Some images end in bytes that belong
// to nothing, such as a signature, which gzip tells by the status 2.
func gunzip(file string) string {
	return "{ gzip -dc <" + host.Quote([]string{file}) + " || [ $? = 2 ]; }"
}

// decompress is a command that writes the content of a file packed so.
func decompress(file string, by magic.Kind) string {
	if by == magic.Gzip {
		return gunzip(file)
	}
	return host.Quote([]string{flags[by].program, "-dc"}) + " <" + host.Quote([]string{file})
}

// tar leaves out what overlayfs has noted of layers on the machine that made the archive:
// on this one it would mean something else. Blocks of 1 MiB are a hundredth of the system
// calls that the usual ones take.
func tar(file, out string) []string {
	return []string{"tar", "--extract", "--blocking-factor=2048", "--file=" + file, "--directory=" + out, "--numeric-owner", "--preserve-permissions",
		"--same-owner", "--xattrs", "--xattrs-include=*", "--xattrs-exclude=trusted.overlay.*", "--xattrs-exclude=user.overlay.*", "--acls"}
}

func bsdtar(p Places, o Options) []string {
	command := []string{"bsdtar", "--extract", "--directory=" + p.Out,
		"-p", "--numeric-owner", "--same-owner", "--xattrs", "--acls", "--no-fflags"}
	if o.Strip != 0 { // a "./" at the beginning is no element
		command = append(command, "-s", `,^\./,,`, fmt.Sprintf("--strip-components=%d", o.Strip))
	}
	for _, pattern := range o.Only {
		command = append(command, "--include="+clean(pattern))
	}
	for _, pattern := range o.Exclude {
		command = append(command, "--exclude="+clean(pattern))
	}
	return command
}

// clean anchors a pattern where bsdtar does: "^" keeps it from matching deeper names.
func clean(pattern string) string { return "^" + strings.TrimPrefix(path.Clean("/"+pattern), "/") }

// Guess tells the programs that a file of this name is likely to need, with such options.
func Guess(name string, o Options) []string {
	kinds := map[string]magic.Kind{
		".squashfs": magic.Squashfs, ".zip": magic.Zip, ".cpio": magic.CPIO, ".rpm": magic.RPM, ".iso": magic.ISO9660,
		".img": magic.Ext, ".raw": magic.Ext, ".qcow2": magic.Ext,
	}
	ext := path.Ext(name)
	kind := kinds[ext]
	if kind == "" {
		kind = kinds[path.Ext(strings.TrimSuffix(name, ext))]
	}
	if kind != "" {
		return Format{Kind: kind}.Programs(o)
	}
	return Format{Kind: magic.Tar, Packed: compressions[ext]}.Programs(o)
}

var compressions = map[string]magic.Kind{
	".bz2": magic.Bzip2, ".gz": magic.Gzip, ".tgz": magic.Gzip, ".xz": magic.XZ, ".txz": magic.XZ, ".lzma": magic.LZMA,
	".zst": magic.Zstd, ".tzst": magic.Zstd, ".lz": magic.Lzip, ".lzo": magic.Lzop, ".lz4": magic.LZ4,
}

// GuessOpen tells the programs that the way to what is unpacked is likely to need.
func GuessOpen(name string) []string {
	ext := path.Ext(name)
	switch inner := path.Ext(strings.TrimSuffix(name, ext)); {
	case ext == ".qcow2":
		return []string{"qemu-img"}
	case ext == ".deb":
		return []string{"bsdtar"}
	case compressions[ext] != "" && (inner == ".img" || inner == ".raw"):
		return Decompressor(compressions[ext])
	}
	return nil
}
