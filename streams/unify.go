package streams

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"imagebuilder/builtins/magic"
	"imagebuilder/builtins/unpack"
)

// The reverse of split: some clients take an image as one archive only, which is made of its
// parts whenever it is wanted.

// Parts are the open files of an image.
type Parts struct {
	Meta *os.File // tarball with the metadata
	Root *os.File // tarball or squashfs image of a container's root file system, or a disk
	Disk bool     // Root is the disk of a virtual machine
}

// Unify writes a unified image of the parts, as an archive that is not compressed. The same
// parts make the same bytes. Where the files stand open does not matter.
func Unify(ctx context.Context, w io.Writer, p Parts) error {
	out := tar.NewWriter(w)
	if err := addMetadata(ctx, out, p.Meta); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	var err error
	if p.Disk {
		err = addDisk(out, p.Root)
	} else {
		err = addRoot(ctx, out, p.Root)
	}
	if err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	return out.Close()
}

// reader returns a file's content from the start.
func reader(f *os.File) (*io.SectionReader, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(f, 0, st.Size()), nil
}

// eachEntry goes through the entries of a tarball.
func eachEntry(ctx context.Context, f *os.File, fn func(*tar.Header, io.Reader) error) error {
	in, err := reader(f)
	if err != nil {
		return err
	}
	r, err := unpack.Stream(ctx, in)
	if err != nil {
		return err
	}
	defer r.Close()
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			_, err := io.Copy(io.Discard, r) // the end of the archive is not that of the file
			return err
		}
		if err != nil {
			return err
		}
		if err := fn(h, archive); err != nil {
			return err
		}
	}
}

func addMetadata(ctx context.Context, w *tar.Writer, f *os.File) error {
	found := false
	err := eachEntry(ctx, f, func(h *tar.Header, r io.Reader) error {
		h.Name = entryName(h.Name)
		switch top, _, _ := strings.Cut(h.Name, "/"); top {
		case ".", "rootfs", "rootfs.img":
			return nil
		}
		found = found || h.Name == metadataName
		return copyEntry(w, h, r)
	})
	if err == nil && !found {
		err = errors.New("there is no " + metadataName)
	}
	return err
}

func addDisk(w *tar.Writer, f *os.File) error {
	r, err := reader(f)
	if err != nil {
		return err
	}
	return copyEntry(w, &tar.Header{Name: "rootfs.img", Typeflag: tar.TypeReg, Mode: 0o644, Size: r.Size()}, r)
}

// addRoot adds a root file system below rootfs.
func addRoot(ctx context.Context, w *tar.Writer, f *os.File) error {
	head := make([]byte, magic.Length)
	n, _ := f.ReadAt(head, 0) // a shorter file has a shorter beginning
	if magic.Of(head[:n]) == magic.Squashfs {
		return eachSquashed(ctx, f, func(h *tar.Header, r io.Reader) error { return copyBelow(w, h, r) })
	}
	return eachEntry(ctx, f, func(h *tar.Header, r io.Reader) error { return copyBelow(w, h, r) })
}

// copyBelow writes an entry below the root as one below rootfs.
func copyBelow(w *tar.Writer, h *tar.Header, r io.Reader) error {
	below := func(name string) string { return strings.TrimSuffix("rootfs/"+entryName(name), "/.") }
	h.Name = below(h.Name)
	if h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	if h.Typeflag == tar.TypeLink {
		h.Linkname = below(h.Linkname)
	}
	return copyEntry(w, h, r)
}
