package unpack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/magic"
)

// How a file is got out of another one: what is compressed, a disk image of QEMU, a member
// of an archive or of a file system, a part of a disk. Each script makes the file "content"
// in the directory for results.

// limited is a script whose files cannot become larger than max bytes.
func limited(max int64, lines ...string) string {
	return script(append([]string{fmt.Sprintf("ulimit -f %d", max>>10)}, lines...)...)
}

// TooLarge is how a script ends whose file would become larger.
const TooLarge = "exit status 153"

// Decompressor are the programs that Decompress needs.
func Decompressor(by magic.Kind) []string { return []string{flags[by].program} }

// Decompress makes the content of a compressed file.
func Decompress(p Places, by magic.Kind, max int64) string {
	return limited(max, decompress(p.File, by)+" >"+content(p))
}

func content(p Places) string { return host.Quote([]string{path.Join(p.Out, "content")}) }

// Raw makes the plain image of a disk.
func Raw(p Places, max int64) string {
	return limited(max, host.Quote([]string{"qemu-img", "convert", "-O", "raw", p.File, path.Join(p.Out, "content")}))
}

// Stem is the name of a file without that of what it is packed by.
func Stem(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

// How the script of Member ends if there is no such file, and the file that it makes if the
// archive itself is meant.
const (
	NotThere = "exit status 77"
	Same     = "same"
)

// MemberFileSystem tells what the kernel has to mount for Member; "" if a program can read it.
func (f Format) MemberFileSystem() string {
	if f.Kind == magic.Squashfs {
		return string(magic.Squashfs)
	}
	return f.FileSystem(Options{})
}

// MemberPrograms are what the host must have for Member.
func (f Format) MemberPrograms() []string {
	switch {
	case f.MemberFileSystem() != "":
		return []string{"cp"}
	case f.Kind == magic.FAT:
		return []string{"mcopy"}
	}
	return []string{"bsdtar"}
}

// Member makes the content of the first file of those that is in an archive or a file
// system; "" is the archive itself. No link leads to it: it could lead out of that.
func (f Format) Member(p Places, names []string, max int64) string {
	lines := []string{"export MTOOLS_SKIP_CHECK=1"}
	for _, name := range names {
		if name == "" {
			lines = append(lines, ": >"+host.Quote([]string{path.Join(p.Out, Same)}), "exit 0")
			break
		}
		there, take := f.member(p, strings.TrimPrefix(path.Clean("/"+name), "/"))
		lines = append(lines, "if "+there+"; then", "    "+take, "    exit 0", "fi")
	}
	return limited(max, append(lines, "exit "+strings.TrimPrefix(NotThere, "exit status "))...)
}

// member returns the commands that tell whether a file is there, and that make it the content.
func (f Format) member(p Places, name string) (there, take string) {
	switch {
	case f.MemberFileSystem() != "":
		var tests []string
		at := p.Tree
		for _, element := range strings.Split(name, "/") {
			at = path.Join(at, element)
			quoted := host.Quote([]string{at})
			tests = append(tests, fmt.Sprintf("[ ! -L %s ] && [ -e %s ]", quoted, quoted))
		}
		return strings.Join(tests, " && "), host.Quote([]string{"cp", "--sparse=always", at, path.Join(p.Out, "content")})
	case f.Kind == magic.FAT:
		return host.Quote([]string{"mdir", "-i", p.File, "::/" + name}) + " >/dev/null 2>&1",
			host.Quote([]string{"mcopy", "-n", "-Q", "-i", p.File, "::/" + name, path.Join(p.Out, "content")})
	}
	// bsdtar says so of what is not there, and fails; it also fails if it cannot read the rest.
	there = fmt.Sprintf("{ %s >/tmp/list 2>/tmp/errors || ! { grep -q ': Not found in archive$' /tmp/errors || { cat /tmp/errors >&2; exit 1; }; }; }",
		host.Quote([]string{"bsdtar", "--list", "--verbose", "--file=" + p.File, "--include=^" + name})) +
		" && [ $(wc -l </tmp/list) = 1 ] && grep -q '^-' /tmp/list"
	take = host.Quote([]string{"bsdtar", "--extract", "--to-stdout", "--file=" + p.File, "--include=^" + name}) + " >" + content(p)
	return there, take
}

// CopyRange makes a file of a part of another one. What is a hole there is one here.
func CopyRange(ctx context.Context, name string, from *os.File, start, size int64) (err error) {
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := to.Truncate(size); err != nil {
		return err
	}
	end := start + size
	for at := start; at < end; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		data, err := unix.Seek(int(from.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && data >= end {
			return nil // the rest is a hole
		}
		if err != nil {
			return &os.PathError{Op: "seek", Path: from.Name(), Err: err}
		}
		hole, err := unix.Seek(int(from.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return &os.PathError{Op: "seek", Path: from.Name(), Err: err}
		}
		at = min(hole, end, data+maxCopy)
		if _, err := to.Seek(data-start, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(to, io.NewSectionReader(from, data, at-data)); err != nil {
			return err
		}
	}
	return nil
}

// maxCopy is how many bytes are copied between two looks at whether to go on.
const maxCopy = 64 << 20
