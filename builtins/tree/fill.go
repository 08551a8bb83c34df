package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/xattr"
)

// FillLayer is WriteArchive the other way round: it makes of an archive what the upper directory
// of an overlay holds, in an empty one. Whoever fills one from elsewhere compares what came of
// it: it is the layer that is meant if an archive of it has the same bytes. Nothing is reached
// but through the directory, whatever the archive says.
func FillLayer(layer *dirfd.Dir, r io.Reader) error {
	u := &unarchiver{root: layer, links: make(linkNames), times: newDirTimes(), given: newDirTimes()}
	err := members(r, func(h *tar.Header, m member, content io.Reader) error {
		if err := u.layered(h, m, content); err != nil {
			return fmt.Errorf("cannot unpack %s: %w", m.path, err)
		}
		return nil
	})
	return errors.Join(err, u.times.restore(layer), u.given.restore(layer))
}

// layered adds a member to a layer.
func (u *unarchiver) layered(h *tar.Header, m member, content io.Reader) error {
	if m.removes != nil {
		return u.hide(*m.removes)
	}
	if err := u.links.pass(h, m.path); err != nil {
		return err
	}
	for record := range h.PAXRecords {
		if own, ofOverlay := xattr.CutOverlay(strings.TrimPrefix(record, attributeRecord)); ofOverlay && own == "redirect" {
			return errors.New("it names a directory of a layer below, which only the machine knows that has made it")
		}
	}
	if h.Typeflag == tar.TypeFifo && h.PAXRecords[socketRecord] != "" {
		return u.socket(h, m.path)
	}
	return u.add(h, m.path, content)
}

// hide says as overlayfs does that a name is gone, or what a directory has below.
func (u *unarchiver) hide(r Removal) error {
	if err := u.parents(path.Dir(r.Path), &tar.Header{}); err != nil {
		return err
	}
	if r.Content {
		return u.root.ProcPath("set attributes", r.Path, func(file string) error {
			return xattr.SetOverlay(file, "opaque", "y")
		})
	}
	return u.root.Change("mknod", r.Path, func(dirfd int, base string) error {
		return unix.Mknodat(dirfd, base, unix.S_IFCHR, 0)
	})
}

func (u *unarchiver) socket(h *tar.Header, name string) error {
	if err := u.parents(path.Dir(name), h); err != nil {
		return err
	}
	err := u.root.Change("mknod", name, func(dirfd int, base string) error {
		return unix.Mknodat(dirfd, base, unix.S_IFSOCK|0o600, 0)
	})
	if err != nil {
		return err
	}
	return u.attributes(u.root, name, h)
}
