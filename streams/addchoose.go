package streams

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/magic"
	"imagebuilder/streams/inventory"
)

// A builder's directory may have more in it than one image: results for LXC, archives of
// something else, and what an earlier build has left under another compression. This file
// decides what of it belongs together, and says what does not.

// collectDir collects what makes an image of the files of a directory.
func (a *adder) collectDir(ctx context.Context, dir string) error {
	names, err := itemsIn(dir)
	if err != nil {
		return err
	}
	sums, err := sumsIn(dir, names)
	if err != nil {
		return err
	}
	first := len(a.sources)
	for _, name := range names {
		if err := a.collectFile(ctx, name, sums); err != nil {
			return err
		}
	}
	found := slices.Clone(a.sources[first:])
	a.sources = a.sources[:first]
	for i, s := range found {
		if why := unrelated(found, i); why != "" {
			a.info("Left out", "path", s.name(), "because", why)
			s.file.Close()
			continue
		}
		a.sources = append(a.sources, s)
	}
	return nil
}

// unrelated returns why one of the files of a directory does not belong to the image that
// the others make, "" if it does.
func unrelated(found []addedFile, i int) string {
	s := &found[i]
	for j := range found {
		if other := &found[j]; i != j && other.as == s.as && other.lxc == s.lxc && stem(other.name()) == stem(s.name()) {
			if why := s.yields(other); why != "" {
				return why
			}
		}
	}
	is := func(what func(*addedFile) bool) bool {
		return slices.ContainsFunc(found, func(s addedFile) bool { return what(&s) })
	}
	lxc := func(s *addedFile) bool { return s.lxc }
	other := func(s *addedFile) bool { return s.unified() || s.isRootfs() && s.as != inventory.RootTarXZName }
	metadata := func(s *addedFile) bool { return s.meta != nil }
	switch archive := s.as == inventory.RootTarXZName && !s.lxc; {
	case s.lxc && is(metadata):
		return "it is metadata for LXC"
	case archive && !strings.HasSuffix(stem(s.name()), "root") && !strings.HasSuffix(stem(s.name()), "rootfs"):
		return "its name is not that of a root file system"
	case archive && filepath.Base(s.name()) != inventory.RootTarXZName && is(lxc) && is(other):
		return "it belongs to the image for LXC"
	}
	return ""
}

// yields returns why a file of the same part of an image is rather meant: it is the one that
// the checksums of the directory list, or else it is newer. If neither can be told, both
// stay, which is an error later on.
func (s *addedFile) yields(other *addedFile) string {
	switch listed := s.sum != nil; {
	case !listed && other.sum != nil:
		return inventory.SumsName + " lists " + filepath.Base(other.name()) + " and not this one"
	case listed == (other.sum != nil) && s.time.Before(other.time):
		return filepath.Base(other.name()) + " is newer"
	}
	return ""
}

// itemsIn returns the files of a directory that can be part of a version: by their
// names there, or as tarballs of any name, as builders leave them.
func itemsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		c := inventory.Classify(e.Name(), false)
		name := filepath.Join(dir, e.Name())
		switch {
		case !e.Type().IsRegular() || c == inventory.Delta || c == inventory.SumsFile || strings.HasPrefix(e.Name(), "."):
		case inventory.IsDocument(e.Name()) || c != inventory.Other || strings.Contains(e.Name(), ".tar") && isTarball(name):
			names = append(names, name)
		}
	}
	return names, nil
}

// isTarball tells by its beginning whether a file is an archive, perhaps compressed, and
// not something about one, such as its signature. One that cannot be read is taken, so
// that it is not passed over silently.
func isTarball(name string) bool {
	f, err := os.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return true
	}
	defer f.Close()
	head, _ := magic.Head(f)
	switch magic.Of(head) {
	case magic.Bzip2, magic.Gzip, magic.XZ, magic.Zstd, magic.Tar, magic.Squashfs, magic.Qcow2:
		return true
	}
	return false // or it is compressed in a way in which images are not
}
