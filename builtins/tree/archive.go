package tree

import (
	"archive/tar"
	"fmt"
	"io"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/xattr"
)

// The one place that knows how overlayfs says what a layer removes or hides, and how an
// archive says it.

// Names by which an archive says what overlayfs says in its own way, as the OCI image
// format has it: https://github.com/opencontainers/image-spec/blob/main/layer.md.
const (
	whiteoutPrefix = ".wh."         // before the name of what a layer removes
	opaqueName     = ".wh..wh..opq" // in a directory that hides the one below it
)

// attributeRecord comes before the name of an extended attribute in a PAX header.
const attributeRecord = "SCHILY.xattr."

// socketRecord marks a FIFO that stands for a socket, for which tar has no type.
const socketRecord = "IMAGEBUILDER.socket"

// WriteArchive writes what the upper directory of an overlay holds as a tar archive of
// PAX headers: sorted names, numeric owners, times in nanoseconds, attributes, hard links
// to the first name, and whiteouts and opaque directories in OCI's manner. What overlayfs
// notes for this machine alone (origin, impure, uuid) is left out. The same content gives
// the same bytes whoever writes it, so that a digest of them identifies a layer.
func WriteArchive(w io.Writer, layer *dirfd.Dir) error {
	a := &archiver{tar: tar.NewWriter(w), layer: layer, links: make(map[inode]string), buffer: make([]byte, 256<<10)}
	if err := a.node("/"); err != nil {
		return err
	}
	return a.tar.Close()
}

// An archiver writes one archive.
type archiver struct {
	tar   *tar.Writer
	layer *dirfd.Dir
	links map[inode]string // files with several names, by the first

	buffer []byte // for the content of files, since one for each would be much of the time
}

func (a *archiver) node(name string) error {
	st, err := a.layer.Lstat(name)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 { // how overlayfs removes a name
		dir, base := path.Split(name)
		return a.mark(dir + whiteoutPrefix + base)
	}
	h := &tar.Header{
		Name: archiveName(name), Format: tar.FormatPAX, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid),
		ModTime: time.Unix(st.Mtim.Unix()), PAXRecords: make(map[string]string),
	}
	opaque, err := a.attributes(name, h)
	if err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return a.directory(name, h, opaque)
	case unix.S_IFREG:
		h.Typeflag, h.Size = tar.TypeReg, st.Size
	case unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
		h.Linkname, err = a.layer.Readlink(name)
	case unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case unix.S_IFSOCK:
		h.Typeflag, h.PAXRecords[socketRecord] = tar.TypeFifo, "1"
	case unix.S_IFCHR:
		h.Typeflag = tar.TypeChar
	case unix.S_IFBLK:
		h.Typeflag = tar.TypeBlock
	}
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
		h.Devmajor, h.Devminor = int64(unix.Major(uint64(st.Rdev))), int64(unix.Minor(uint64(st.Rdev)))
	}
	if first, again := a.again(name, st); again {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, archiveName(first), 0
		h.Devmajor, h.Devminor, h.PAXRecords = 0, 0, nil
	}
	if err := a.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("cannot archive %s: %w", name, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	return a.content(name, h.Size)
}

// again tells whether a file was written under another name already, and which.
func (a *archiver) again(name string, st unix.Stat_t) (string, bool) {
	if st.Nlink < 2 {
		return "", false
	}
	key := inode{uint64(st.Dev), st.Ino}
	first, ok := a.links[key]
	if !ok {
		a.links[key] = name
	}
	return first, ok
}

func (a *archiver) directory(name string, h *tar.Header, opaque bool) error {
	h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
	if err := a.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("cannot archive %s: %w", name, err)
	}
	if opaque {
		if err := a.mark(path.Join(name, opaqueName)); err != nil {
			return err
		}
	}
	names, err := a.layer.ReadDir(name)
	if err != nil {
		return err
	}
	for _, base := range names {
		if err := a.node(path.Join(name, base)); err != nil {
			return err
		}
	}
	return nil
}

// mark writes an empty file that says something by its name.
func (a *archiver) mark(name string) error {
	return a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: archiveName(name), Format: tar.FormatPAX, ModTime: time.Unix(0, 0)})
}

func (a *archiver) content(name string, size int64) error {
	f, err := a.layer.OpenFile(name, unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if n, err := io.CopyBuffer(struct{ io.Writer }{a.tar}, struct{ io.Reader }{f}, a.buffer); err != nil || n != size {
		return fmt.Errorf("cannot archive %s: %d of %d bytes: %w", name, n, size, err)
	}
	return nil
}

// attributes adds the extended attributes of a file to its header. A redirect of
// overlayfs, which names a directory of a layer below, stays as it is.
func (a *archiver) attributes(name string, h *tar.Header) (opaque bool, err error) {
	err = a.layer.ProcPath("read attributes", name, func(file string) error {
		names, err := xattr.All(file)
		if err != nil {
			return err
		}
		for _, attr := range names {
			own, ofOverlay := xattr.CutOverlay(attr)
			if ofOverlay && own != "redirect" && own != "opaque" {
				continue
			}
			value, err := xattr.Get(file, attr)
			if err != nil {
				return err
			}
			if ofOverlay && own == "opaque" {
				opaque = opaque || string(value) == "y"
				continue
			}
			h.PAXRecords[attributeRecord+attr] = string(value)
		}
		return nil
	})
	return opaque, err
}

// archiveName is what a file is called in the archive: "./etc/passwd".
func archiveName(name string) string {
	if name == "/" {
		return "."
	}
	return "." + name
}
