package boot

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"gopkg.in/yaml.v3"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/magic"
	"imagebuilder/builtins/unpack"
)

// The files of an image, as far as it takes to start its disk.

// An image is what was found in the files.
type image struct {
	name         string   // of the file that has the disk
	disk         *os.File // nil: there is none
	format       string   // of the disk, as QEMU calls it
	architecture string   // that the metadata say, "" if there are none
}

func (i *image) Close() error {
	if i.disk == nil {
		return nil
	}
	return i.disk.Close()
}

// open finds the disk among the files of an image.
func open(ctx context.Context, files []string) (*image, error) {
	img := new(image)
	for _, name := range files {
		if err := img.add(ctx, name); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot boot %s: %w", filepath.Base(name), err), img.Close())
		}
	}
	if img.disk == nil {
		return nil, fmt.Errorf("there is no disk to boot in %s", names(files))
	}
	return img, nil
}

// add finds out what a file is.
func (i *image) add(ctx context.Context, name string) error {
	f, err := os.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return dirfd.Cause(err)
	}
	keep := false
	defer func() {
		if !keep {
			f.Close()
		}
	}()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return errors.Join(err, errors.New("it is no regular file"))
	}
	format, err := unpack.Detect(name)
	if err != nil {
		return err
	}
	isDisk := format.Kind == magic.Disk || format.Kind == magic.Qcow2
	switch {
	case format.Kind == magic.Tar:
		return i.addArchive(ctx, f)
	case format.Kind == magic.Squashfs:
		return errContainer
	case isDisk && format.Packed == "":
		err = i.setDisk(f, filepath.Base(name))
		keep = i.disk == f
		return err
	case isDisk:
		r, err := unpack.Stream(ctx, f)
		if err != nil {
			return err
		}
		return errors.Join(i.copyDisk(r, filepath.Base(name)), r.Close())
	}
	return fmt.Errorf("it is no disk but %s", format)
}

var errContainer = errors.New("it is the root file system of a container: LXD can start it, with --lxd")

// setDisk takes a file for the disk if it is one.
func (i *image) setDisk(f *os.File, name string) error {
	if i.disk != nil {
		return fmt.Errorf("there is another disk, in %s", i.name)
	}
	head, err := magic.Deep(f)
	if err != nil {
		return err
	}
	switch magic.Of(head) {
	case magic.Qcow2:
		if err := unpack.CheckQcow2(f); err != nil {
			return err
		}
		i.format = "qcow2"
	case magic.Disk:
		i.format = "raw"
	default:
		return fmt.Errorf("%s is no disk", name)
	}
	i.disk, i.name = f, name
	return nil
}

// copyDisk takes the rest of a stream for the disk.
func (i *image) copyDisk(r io.Reader, name string) error {
	f, err := unnamed()
	if err != nil {
		return err
	}
	_, err = io.Copy(sparse{f}, r)
	if err == nil {
		err = i.setDisk(f, name)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

// A sparse writer leaves holes where zeros would be.
type sparse struct{ file *os.File }

func (s sparse) Write(p []byte) (int, error) {
	if len(bytes.TrimLeft(p, "\x00")) > 0 {
		return s.file.Write(p)
	}
	end, err := s.file.Seek(int64(len(p)), io.SeekCurrent)
	if err == nil {
		err = s.file.Truncate(end)
	}
	return len(p), err
}

// maxMetadata bounds a metadata.yaml in bytes.
const maxMetadata = 1 << 20

// addArchive looks for the metadata and the disk in an archive, no further than to both: the
// metadata of a split image, or a unified one. See
// https://documentation.ubuntu.com/lxd/latest/reference/image_format/.
func (i *image) addArchive(ctx context.Context, f *os.File) error {
	r, err := unpack.Stream(ctx, f)
	if err != nil {
		return err
	}
	defer r.Close()
	archive := tar.NewReader(r)
	for found := 0; found < 2; {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read the archive: %w", err)
		}
		top, _, _ := strings.Cut(strings.TrimPrefix(path.Clean("/"+h.Name), "/"), "/")
		switch top {
		case "metadata.yaml":
			found++
			var metadata struct{ Architecture string }
			data, err := io.ReadAll(io.LimitReader(archive, maxMetadata))
			if err == nil {
				err = yaml.Unmarshal(data, &metadata)
			}
			if err != nil {
				return fmt.Errorf("cannot read its metadata.yaml: %w", err)
			}
			i.architecture = metadata.Architecture
		case "rootfs":
			return errContainer
		case "rootfs.img":
			found++
			if err := i.copyDisk(archive, filepath.Base(f.Name())); err != nil {
				return fmt.Errorf("rootfs.img: %w", err)
			}
		}
	}
	return nil
}
