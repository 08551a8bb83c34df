package streams

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

// A look is what came of looking at one product.
type look struct {
	product  *product
	fresh    bool
	touched  bool
	troubles []trouble
}

// product looks at the versions of a product. If all is as it was, the result is
// the known product itself.
func (sc *scanner) product(p *product, l *look) *product {
	known := sc.known[p.place.Product]
	if known == p {
		return p // it could not be looked at
	}
	entries, err := sc.files.List(p.place.Path())
	if err != nil {
		l.troubles = append(l.troubles, trouble{p.place.Path(), err})
		return cmp.Or(known, p)
	}
	var before []*version
	if known != nil {
		before = known.versions
	}
	for _, entry := range entries {
		if v := sc.entry(p.place, entry, before, l); v != nil {
			p.versions = append(p.versions, v)
		}
	}
	if known != nil && slices.EqualFunc(p.levels, known.levels, sameLevel) && slices.Equal(p.versions, before) {
		l.fresh = slices.ContainsFunc(before, func(v *version) bool { return v.pending })
		return known
	}
	l.fresh = true
	return p
}

// entry returns the version an entry of a product's directory stands for, or nil.
func (sc *scanner) entry(product catalog.Place, entry fs.DirEntry, before []*version, l *look) *version {
	place := product.Of(entry.Name())
	if strings.HasPrefix(entry.Name(), ".") || sc.leaving.has(place) {
		return nil
	}
	isDir, err := sc.isDir(product.Path(), entry, catalog.CheckVersion)
	if err != nil {
		l.troubles = append(l.troubles, trouble{place.Path(), err})
	}
	if !isDir {
		return nil
	}
	return sc.version(place, findVersion(before, entry.Name()), l)
}

// findVersion returns the version of a name, or nil.
func findVersion(versions []*version, name string) *version {
	i, ok := slices.BinarySearchFunc(versions, name, func(v *version, name string) int {
		return strings.Compare(v.name, name)
	})
	if !ok {
		return nil
	}
	return versions[i]
}

// version looks at the files of a version. The result is the old version itself if
// nothing in it has changed, or if it cannot be looked at just now.
func (sc *scanner) version(place catalog.Place, old *version, l *look) *version {
	v, err := sc.readVersion(place, old, l)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		l.troubles = append(l.troubles, trouble{place.Path(), err})
		return old
	}
	return v
}

// errGone says that a version was removed while it was about to be looked at.
var errGone = errors.New("it is gone")

func (sc *scanner) readVersion(place catalog.Place, old *version, l *look) (*version, error) {
	dir, err := sc.files.Sub(place.Path())
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
	v := &version{name: place.Version, dir: site.StampOf(&st)}
	v.complete = sc.settled(v.dir.Mtime)
	if old != nil && old.dir == v.dir && old.complete && sc.unchanged(dir, place, old) {
		return old, nil
	}
	if err := sc.list(v, dir, place, l); err != nil {
		return nil, err
	}
	if old != nil && slices.EqualFunc(v.files, old.files, sameFile) {
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

func sameFile(now, was file) bool {
	return now.name == was.name && now.class == was.class && now.stamp == was.stamp && was.settled
}

// settled tells whether a time of modification lies so far back (or ahead) that a
// further change is bound to give another one. File systems count in steps of up
// to two seconds.
func (sc *scanner) settled(mtime int64) bool {
	const step, day = 2e9, 86400e9
	return mtime < sc.start-step || mtime > sc.start+day
}

// unchanged tells whether each file of a version is what it was. Whatever else
// there may be in the directory, its time says that no name was added.
func (sc *scanner) unchanged(dir *dirfd.Dir, place catalog.Place, old *version) bool {
	for i := range old.files {
		f := &old.files[i]
		now, ok, err := sc.stampAt(dir, place, f.name)
		if err != nil || !ok || now != f.stamp || !f.settled {
			return false
		}
	}
	return true
}

// list lists the files of a version that matter.
func (sc *scanner) list(v *version, dir *dirfd.Dir, place catalog.Place, l *look) error {
	names, err := dir.ReadDir(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		c := classify(name, sc.upstream)
		if c == other {
			continue
		}
		st, ok, err := sc.stampAt(dir, place, name)
		if c == sumsFile && !ok && (err == nil || errors.Is(err, errSkip)) {
			// As good as none would mean that nothing is checked.
			v.files = append(v.files, file{name: name, stamp: unusable, class: c, settled: true})
		}
		if err == nil {
			if bad := catalog.CheckFile(name); bad != nil {
				err = fmt.Errorf("%w: %w", errSkip, bad)
			}
		}
		switch {
		case errors.Is(err, errSkip):
			l.troubles = append(l.troubles, trouble{place.File(name), err})
		case err != nil:
			return err
		case ok:
			v.files = append(v.files, file{name: name, stamp: st, class: c, settled: sc.settled(st.Mtime)})
		}
	}
	return nil
}

// unusable is the stamp of checksums that are there but not as a regular file.
var unusable = site.Stamp{Size: -1}

// stampAt returns the stamp of a regular file in the open directory of a version; ok is
// false for anything else. A link is followed from the root of the site: it may lead out
// of the version.
func (sc *scanner) stampAt(dir *dirfd.Dir, place catalog.Place, name string) (s site.Stamp, ok bool, err error) {
	st, err := dir.Lstat(name)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		if !sc.files.Links {
			return s, false, fmt.Errorf("%w: it is a symbolic link", errSkip)
		}
		st, err = sc.files.Stat(place.File(name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil // removed meanwhile, or a link to nothing
	}
	return site.StampOf(&st), err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG, err
}

// inherit takes over what is known of files that have not changed.
func (v *version) inherit(old *version) {
	v.before, v.deltas = old, old.deltas
	metaSame := sameMeta(v, old)
	for i := range v.files {
		f := &v.files[i]
		was := old.find(f.name)
		if was == nil || was.stamp != f.stamp || !was.settled || !was.hashed {
			continue
		}
		f.settled, f.hashed, f.sum = true, true, was.sum
		if metaSame {
			f.joint = was.joint
		}
	}
}

// sameMeta tells whether both versions have the same metadata, of which the joint
// hashes are made as well.
func sameMeta(a, b *version) bool {
	for _, c := range []class{metaLXD, metaIncus} {
		x, y := a.first(c), b.first(c)
		if (x == nil) != (y == nil) || x != nil && (x.stamp != y.stamp || !y.settled) {
			return false
		}
	}
	return true
}

// lookAt returns a version as it is on the disk, whatever is known of it.
func lookAt(files *site.Files, place catalog.Place) (*version, error) {
	sc := &scanner{files: files}
	return sc.readVersion(place, nil, new(look))
}
