package streams

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"imagebuilder/builtins/magic"
	"imagebuilder/builtins/unpack"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/site"
	"imagebuilder/streams/whole"
)

// A unified image is one archive of metadata and root file system; a site has them apart.

// split writes the parts of a unified image as files of their own: the metadata, and
// a root file system as a tarball or a disk.
func split(ctx context.Context, files *site.Files, place catalog.Location, f *os.File, c content) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r, err := unpack.Stream(ctx, f)
	if err != nil {
		return err
	}
	defer r.Close()
	archive := whole.NewReader(r)
	err = compressed(ctx, files, place.File(catalog.LXDMeta), func(meta *tar.Writer) error {
		if c.disk {
			return distribute(archive, meta, func(h *tar.Header) error {
				return copyDisk(files, place.File(inventory.DiskName), archive)
			})
		}
		return compressed(ctx, files, place.File(inventory.RootTarXZName), func(root *tar.Writer) error {
			return distribute(archive, meta, func(h *tar.Header) error { return copyRoot(root, h, archive) })
		})
	})
	if err != nil {
		return err
	}
	// The end of the archive is not that of the file, whose check sum comes last.
	_, err = io.Copy(io.Discard, r)
	return err
}

// compressed writes a tarball.
func compressed(ctx context.Context, files *site.Files, name string, fill func(*tar.Writer) error) error {
	out, err := files.Create(name, site.FileMode)
	if err != nil {
		return err
	}
	err = compress(ctx, out, func(w io.Writer) error {
		archive := tar.NewWriter(w)
		return errors.Join(fill(archive), archive.Close())
	})
	return errors.Join(err, out.Close())
}

// distribute hands the entries of the root file system to toRoot and writes the
// others to meta.
func distribute(from *whole.Reader, meta *tar.Writer, toRoot func(*tar.Header) error) error {
	for {
		h, err := from.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		top, _, _ := strings.Cut(entryName(h.Name), "/")
		switch top {
		case ".":
		case "rootfs", "rootfs.img":
			err = toRoot(h)
		default:
			h.Name = entryName(h.Name)
			err = copyEntry(meta, h, from)
		}
		if err != nil {
			return err
		}
	}
}

// copyRoot writes an entry below rootfs as one below the root.
func copyRoot(w *tar.Writer, h *tar.Header, r io.Reader) error {
	h.Name = "." + strings.TrimPrefix(entryName(h.Name), "rootfs")
	if h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	if h.Typeflag == tar.TypeLink {
		h.Linkname = "." + strings.TrimPrefix(entryName(h.Linkname), "rootfs")
	}
	return copyEntry(w, h, r)
}

func copyEntry(w *tar.Writer, h *tar.Header, r io.Reader) error {
	h.Format = tar.FormatPAX // the only one that has room for all attributes
	if h.Typeflag == tar.TypeGNUSparse {
		h.Typeflag = tar.TypeReg // the reader fills the holes
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(w, r)
	return err
}

// copyDisk writes the disk of a virtual machine, which must be what its name says.
func copyDisk(files *site.Files, name string, r io.Reader) error {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil || magic.Of(head) != magic.Qcow2 {
		return errors.New("rootfs.img is not a qcow2 image")
	}
	out, err := files.Create(name, site.FileMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.MultiReader(bytes.NewReader(head), r))
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	disk, err := files.OpenRegular(name)
	if err != nil {
		return err
	}
	defer disk.Close()
	st, err := disk.Stat()
	if err == nil {
		err = whole.Qcow2(disk, st.Size())
	}
	if err != nil {
		return fmt.Errorf("rootfs.img: %w", err)
	}
	return nil
}
