package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// A look at one product, as far as no file has to be opened. The invariant: what is taken over
// from before is what nobody can have changed since without a stamp telling.

// A look is what came of looking at one product.
type look struct {
	product  *FoundProduct
	fresh    bool
	touched  bool
	troubles []Trouble
}

// product looks at the versions of a product. If all is as it was, the result is
// the known product itself.
func (sc *Scanner) product(p *FoundProduct, l *look) *FoundProduct {
	known := sc.Known[p.Location.Product]
	if known == p {
		return p // it could not be looked at
	}
	entries, err := sc.Files.List(p.Location.Path())
	if err != nil {
		l.troubles = append(l.troubles, Trouble{p.Location.Path(), err})
		return cmp.Or(known, p)
	}
	var before []*FoundVersion
	if known != nil {
		before = known.Versions
	}
	for _, entry := range entries {
		if v := sc.entry(p.Location, entry, before, l); v != nil {
			p.Versions = append(p.Versions, v)
		}
	}
	if known != nil && slices.EqualFunc(p.levels, known.levels, sameLevel) && slices.Equal(p.Versions, before) {
		l.fresh = slices.ContainsFunc(before, func(v *FoundVersion) bool { return v.Pending })
		return known
	}
	l.fresh = true
	return p
}

// entry returns the version an entry of a product's directory stands for, or nil.
func (sc *Scanner) entry(product catalog.Location, entry fs.DirEntry, before []*FoundVersion, l *look) *FoundVersion {
	place := product.Of(entry.Name())
	if strings.HasPrefix(entry.Name(), ".") || sc.Leaving.Has(place) {
		return nil
	}
	isDir, err := sc.isDir(product.Path(), entry, catalog.CheckVersion)
	if err != nil {
		l.troubles = append(l.troubles, Trouble{place.Path(), err})
	}
	if !isDir {
		return nil
	}
	return sc.version(place, findVersion(before, entry.Name()), l)
}

// findVersion returns the version of a name, or nil.
func findVersion(versions []*FoundVersion, name string) *FoundVersion {
	i, ok := slices.BinarySearchFunc(versions, name, func(v *FoundVersion, name string) int {
		return strings.Compare(v.Name, name)
	})
	if !ok {
		return nil
	}
	return versions[i]
}

// version looks at the files of a version. The result is the old version itself if
// nothing in it has changed, or if it cannot be looked at just now.
func (sc *Scanner) version(place catalog.Location, old *FoundVersion, l *look) *FoundVersion {
	v, err := sc.readVersion(place, old, l)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		l.troubles = append(l.troubles, Trouble{place.Path(), err})
		return old
	}
	return v
}

// errGone says that a version was removed while it was about to be looked at.
var errGone = errors.New("it is gone")

func (sc *Scanner) readVersion(place catalog.Location, old *FoundVersion, l *look) (*FoundVersion, error) {
	dir, err := sc.Files.Sub(place.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errGone
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	st, err := dir.Lstat(".")
	if err != nil {
		return nil, err
	}
	v := &FoundVersion{Name: place.Version, dir: site.StampOf(&st)}
	v.complete = sc.settled(v.dir.Mtime)
	if old != nil && old.dir == v.dir && old.complete && sc.unchanged(dir, place, old) {
		return old, nil
	}
	if err := sc.list(v, dir, place, l); err != nil {
		return nil, err
	}
	if old != nil && slices.EqualFunc(v.Files, old.Files, sameFile) {
		old.dir, old.complete, l.touched = v.dir, v.complete, true
		return old, nil
	}
	if old != nil {
		v.inherit(old)
	}
	return v, nil
}

func sameLevel(now, was level) bool {
	return now.path == was.path && now.stamp == was.stamp && was.settled
}

func sameFile(now, was FoundFile) bool {
	return now.Name == was.Name && now.Class == was.Class && now.Stamp == was.Stamp && was.Settled
}

// settled tells whether a time of modification lies so far back (or ahead) that a
// further change is bound to give another one. File systems count in steps of up
// to two seconds.
func (sc *Scanner) settled(mtime int64) bool {
	const step, day = 2e9, 86400e9
	return mtime < sc.Start-step || mtime > sc.Start+day
}

// unchanged tells whether each file of a version is what it was. Whatever else
// there may be in the directory, its time says that no name was added.
func (sc *Scanner) unchanged(dir *dirfd.Dir, place catalog.Location, old *FoundVersion) bool {
	for i := range old.Files {
		f := &old.Files[i]
		now, ok, err := sc.stampAt(dir, place, f.Name)
		if err != nil || !ok || now != f.Stamp || !f.Settled {
			return false
		}
	}
	return true
}

// list lists the files of a version that matter.
func (sc *Scanner) list(v *FoundVersion, dir *dirfd.Dir, place catalog.Location, l *look) error {
	names, err := dir.ReadDir(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		c := Classify(name, sc.Upstream)
		if c == Other {
			continue
		}
		st, ok, err := sc.stampAt(dir, place, name)
		if c == SumsFile && !ok && (err == nil || errors.Is(err, errSkip)) {
			// As good as none would mean that nothing is checked.
			v.Files = append(v.Files, FoundFile{Name: name, Stamp: unusable, Class: c, Settled: true})
		}
		if err == nil {
			if bad := catalog.CheckFile(name); bad != nil {
				err = fmt.Errorf("%w: %w", errSkip, bad)
			}
		}
		switch {
		case errors.Is(err, errSkip):
			l.troubles = append(l.troubles, Trouble{place.File(name), err})
		case err != nil:
			return err
		case ok:
			v.Files = append(v.Files, FoundFile{Name: name, Stamp: st, Class: c, Settled: sc.settled(st.Mtime)})
		}
	}
	return nil
}

// unusable is the stamp of checksums that are there but not as a regular file.
var unusable = site.Stamp{Size: -1}

// stampAt returns the stamp of a regular file in the open directory of a version; ok is
// false for anything else. A link is followed from the root of the site: it may lead out
// of the version.
func (sc *Scanner) stampAt(dir *dirfd.Dir, place catalog.Location, name string) (s site.Stamp, ok bool, err error) {
	st, err := dir.Lstat(name)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		if !sc.Files.Links {
			return s, false, fmt.Errorf("%w: it is a symbolic link", errSkip)
		}
		st, err = sc.Files.Stat(place.File(name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil // removed meanwhile, or a link to nothing
	}
	return site.StampOf(&st), err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG, err
}

// inherit takes over what is known of files that have not changed.
func (v *FoundVersion) inherit(old *FoundVersion) {
	v.Before, v.deltas = old, old.deltas
	metaSame := sameMeta(v, old)
	for i := range v.Files {
		f := &v.Files[i]
		was := old.Find(f.Name)
		if was == nil || was.Stamp != f.Stamp || !was.Settled || !was.Hashed {
			continue
		}
		f.Settled, f.Hashed, f.Sum = true, true, was.Sum
		if metaSame {
			f.Joint = was.Joint
		}
	}
}

// sameMeta tells whether both versions have the same metadata, of which the joint
// hashes are made as well.
func sameMeta(a, b *FoundVersion) bool {
	for _, c := range []class{metaLXD, metaIncus} {
		x, y := a.first(c), b.first(c)
		if (x == nil) != (y == nil) || x != nil && (x.Stamp != y.Stamp || !y.Settled) {
			return false
		}
	}
	return true
}

// LookAt returns a version as it is on the disk, whatever is known of it.
func LookAt(files *site.Files, place catalog.Location) (*FoundVersion, error) {
	sc := &Scanner{Files: files}
	return sc.readVersion(place, nil, new(look))
}
