package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Layers that come from elsewhere, put onto a tree: WriteArchive the other way round, for
// archives of anybody's. A layer says what it removes in any order among what it adds, and
// means what is below it alone. So its archive is read twice: [ScanLayer] finds what is to
// go, and what makes the archive one that nobody should unpack; then ReadLayer adds.

// A Budget bounds what layers may hold, all together: an archive of a few bytes can be one
// of very many. What is taken from it is gone.
type Budget struct {
	Bytes   int64 // of content
	Entries int64 // files, directories, links
}

func (b *Budget) take(h *tar.Header) error {
	if b.Entries--; b.Entries < 0 {
		return errors.New("it holds more entries than are allowed")
	}
	if b.Bytes -= h.Size; b.Bytes < 0 {
		return fmt.Errorf("with %s it holds more bytes than are allowed", h.Name)
	}
	return nil
}

// A Removal is something that a layer takes away from what is below it.
type Removal struct {
	Path    string
	Content bool // what is in the directory, not the directory
}

// ScanLayer reads the archive of a layer to its end and returns what the layer removes.
// It is an error if the archive ends in the middle of a member, exceeds the budget, or has a member that
// [Removal]s and [ReadLayer] could not bring into a tree.
func ScanLayer(r io.Reader, budget *Budget) ([]Removal, error) {
	var removals []Removal
	links := make(linkNames)
	err := members(r, func(h *tar.Header, m member, _ io.Reader) error {
		if err := budget.take(h); err != nil {
			return err
		}
		if m.removes != nil {
			removals = append(removals, *m.removes)
			return nil
		}
		return links.pass(h, m.path)
	})
	return removals, err
}

// Remove takes away what a layer removes.
func Remove(root *dirfd.Dir, removals []Removal) error {
	times := newDirTimes()
	for _, r := range removals {
		if err := times.keep(root, path.Dir(r.Path)); err != nil {
			return err
		}
		remove := root.RemoveAll
		if r.Content {
			if err := times.keep(root, r.Path); err != nil {
				return err
			}
			remove = root.Clear
		}
		if err := remove(r.Path); err != nil {
			return err
		}
	}
	return times.restore(root)
}

// A member is what a name in the archive of a layer means.
type member struct {
	path    string   // in the root; "/" is the root itself
	removes *Removal // nil: it adds
	ignored bool     // it is of no meaning here
}

// members calls do for each member of the archive of a layer that means something.
func members(r io.Reader, do func(h *tar.Header, m member, content io.Reader) error) error {
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			// What follows the end of an archive is part of what its digest is of.
			_, err = io.Copy(io.Discard, r)
			return err
		}
		if err != nil {
			return fmt.Errorf("cannot read the archive: %w", err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		m, err := meaning(h.Name)
		if err != nil {
			return err
		}
		if m.ignored {
			continue
		}
		if err := do(h, m, archive); err != nil {
			return err
		}
	}
}

// meaning tells what a name in the archive of a layer means. A name that leads out of
// the root is refused, even though no file would be reached by it: nobody has it who means
// well.
func meaning(name string) (member, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return member{}, fmt.Errorf("no file can be called %q", name)
	}
	elements := strings.Split(name, "/")
	if slices.Contains(elements, "..") {
		return member{}, fmt.Errorf("the member %q leads out of the image", name)
	}
	clean := path.Clean("/" + name)
	dir, base := path.Split(clean)
	for _, element := range strings.Split(clean, "/") {
		// What aufs has for itself: .wh..wh.plnk, .wh..wh.aufs.
		if strings.HasPrefix(element, whiteoutPrefix+whiteoutPrefix) && element != opaqueName {
			return member{ignored: true}, nil
		}
	}
	if strings.Contains(dir, "/"+whiteoutPrefix) {
		return member{}, fmt.Errorf("the member %q is below something that is removed", name)
	}
	if base == opaqueName {
		return member{path: clean, removes: &Removal{Path: path.Clean(dir), Content: true}}, nil
	}
	removed, is := strings.CutPrefix(base, whiteoutPrefix)
	if !is {
		return member{path: clean}, nil
	}
	if removed == "" || removed == "." || removed == ".." {
		return member{}, fmt.Errorf("the member %q removes nothing that has a name", name)
	}
	return member{path: clean, removes: &Removal{Path: dir + removed}}, nil
}

// linkNames are the symbolic links that a layer has, by their names.
type linkNames map[string]bool

// pass refuses what leads out of the image, and what lies behind a symbolic link of its own layer. No archive of a tree has
// that: it is how unpacking is led astray. Links of layers below are something else, as a
// system whose /lib is a link shows.
func (l linkNames) pass(h *tar.Header, name string) error {
	if len(l) > 0 {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			if l[dir] {
				return fmt.Errorf("the member %q is behind the symbolic link %s of the same layer", h.Name, dir)
			}
		}
	}
	if h.Typeflag == tar.TypeLink && slices.Contains(strings.Split(h.Linkname, "/"), "..") {
		return fmt.Errorf("the hard link %q leads out of the image", h.Name)
	}
	if h.Typeflag == tar.TypeSymlink {
		l[name] = true
	} else {
		delete(l, name)
	}
	return nil
}

// dirTimes are the times that directories are to have once all is done: what is put into
// them or taken out changes these. A directory may have several names, where links lead
// to it.
type dirTimes struct {
	named map[string]bool
	times map[inode]dirTime
}

type dirTime struct {
	name  string
	mtime unix.Timespec
}

func newDirTimes() *dirTimes {
	return &dirTimes{named: make(map[string]bool), times: make(map[inode]dirTime)}
}

// keep remembers the time of a directory as it is now, if it is there.
func (t *dirTimes) keep(root *dirfd.Dir, dir string) error {
	if t.named[dir] {
		return nil
	}
	st, err := root.Stat(dir)
	if notThere(err) || err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	if err != nil {
		return err
	}
	t.named[dir] = true
	if _, ok := t.times[inode{uint64(st.Dev), st.Ino}]; !ok {
		t.times[inode{uint64(st.Dev), st.Ino}] = dirTime{dir, st.Mtim}
	}
	return nil
}

// set says what time a directory is to have.
func (t *dirTimes) set(root *dirfd.Dir, dir string, mtime unix.Timespec) error {
	st, err := root.Stat(dir)
	if err == nil {
		t.named[dir] = true
		t.times[inode{uint64(st.Dev), st.Ino}] = dirTime{dir, mtime}
	}
	return err
}

func (t *dirTimes) restore(root *dirfd.Dir) error {
	for _, dir := range t.times {
		sub, err := root.Sub(dir.name)
		if notThere(err) {
			continue // it was removed
		}
		if err != nil {
			return err
		}
		err = sub.ProcPath("set times", "/", func(file string) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, file, []unix.Timespec{dir.mtime, dir.mtime}, 0)
		})
		if err := errors.Join(err, sub.Close()); err != nil {
			return err
		}
	}
	return nil
}

// notThere tells an error that says that nothing has a name: no link in it leads anywhere.
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}
