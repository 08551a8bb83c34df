package streams

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/streams/catalog"
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
	known := sc.known[p.name]
	if known == p {
		return p // it could not be looked at
	}
	dir := p.name.Dir(sc.stream)
	entries, err := sc.site.list(dir)
	if err != nil {
		l.troubles = append(l.troubles, trouble{dir, err})
		return cmp.Or(known, p)
	}
	var before []*version
	if known != nil {
		before = known.versions
	}
	for _, entry := range entries {
		if v := sc.entry(dir, entry, before, l); v != nil {
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
func (sc *scanner) entry(dir string, entry fs.DirEntry, before []*version, l *look) *version {
	name := path.Join(dir, entry.Name())
	if strings.HasPrefix(entry.Name(), ".") || sc.leaving[name] {
		return nil
	}
	isDir, err := sc.isDir(dir, entry, catalog.CheckVersion)
	if err != nil {
		l.troubles = append(l.troubles, trouble{name, err})
	}
	if !isDir {
		return nil
	}
	return sc.version(name, entry.Name(), findVersion(before, entry.Name()), l)
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
func (sc *scanner) version(dir, name string, old *version, l *look) *version {
	f, err := sc.site.openDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed meanwhile
	}
	if err != nil {
		l.troubles = append(l.troubles, trouble{dir, err})
		return old
	}
	defer f.Close()
	v, err := sc.readVersion(f, dir, name, old, l)
	if err != nil {
		l.troubles = append(l.troubles, trouble{dir, err})
		return old
	}
	return v
}

func (sc *scanner) readVersion(f *os.File, dir, name string, old *version, l *look) (*version, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, pathError("stat", dir, err)
	}
	v := &version{name: name, dir: stampOf(&st)}
	v.complete = sc.settled(v.dir.mtime)
	if old != nil && old.dir == v.dir && old.complete && sc.unchanged(f, dir, old) {
		return old, nil
	}
	if err := sc.files(v, f, dir, l); err != nil {
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
func (sc *scanner) unchanged(dir *os.File, dirName string, old *version) bool {
	for i := range old.files {
		f := &old.files[i]
		now, ok, err := sc.stampAt(dir, dirName, f.name)
		if err != nil || !ok || now != f.stamp || !f.settled {
			return false
		}
	}
	return true
}

// files lists the files of a version that matter.
func (sc *scanner) files(v *version, dir *os.File, dirName string, l *look) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		c := classify(name, sc.upstream)
		if c == other {
			continue
		}
		st, ok, err := sc.stampAt(dir, dirName, name)
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
			l.troubles = append(l.troubles, trouble{path.Join(dirName, name), err})
		case err != nil:
			return err
		case ok:
			v.files = append(v.files, file{name: name, stamp: st, class: c, settled: sc.settled(st.mtime)})
		}
	}
	return nil
}

// unusable is the stamp of checksums that are there but not as a regular file.
var unusable = stamp{size: -1}

// stampAt returns the stamp of a regular file in an open directory; ok is false for
// anything else.
func (sc *scanner) stampAt(dir *os.File, dirName, name string) (s stamp, ok bool, err error) {
	var st unix.Stat_t
	err = ignoreEINTR(func() error {
		return unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
		if !sc.site.links {
			return s, false, fmt.Errorf("%w: it is a symbolic link", errSkip)
		}
		st, err = sc.site.follow(path.Join(dirName, name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return s, false, nil // removed meanwhile, or a link to nothing
	}
	return stampOf(&st), err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG, pathError("stat", path.Join(dirName, name), err)
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{size: st.Size, mtime: st.Mtim.Nano(), ino: st.Ino}
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
