package streams

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"

	"golang.org/x/sync/errgroup"

	"imagebuilder/streams/catalog"
)

// A versionCheck is the check of one version, done beside others.
type versionCheck struct {
	dir      string // of the product
	name     string
	items    map[string]catalog.Item
	siblings map[string]catalog.Version // all versions of the product
	faults   []Fault
	read     int64
}

func newVersionCheck(stream string, c *catalog.Product, name string) *versionCheck {
	return &versionCheck{dir: c.Name().Dir(stream), name: name, items: c.Versions[name].Items, siblings: c.Versions}
}

// versions carries out the checks, several at a time, and collects what they found
// in their own order.
func (v *verifier) versions(ctx context.Context, checks []*versionCheck) error {
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(v.Workers)
	for _, c := range checks {
		group.Go(func() error { return v.version(inner, c) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, c := range checks {
		v.report.Versions++
		v.report.Items += len(c.items)
		v.report.Bytes += c.read
		v.report.Faults = append(v.report.Faults, c.faults...)
		v.unique(c)
	}
	return nil
}

func (c *versionCheck) path() string { return path.Join(c.dir, c.name) }

func (c *versionCheck) fault(kind FaultKind, name, problem string) {
	f := Fault{Kind: kind, Path: name, Problem: problem}
	if !slices.Contains(c.faults, f) { // two items may share a file
		c.faults = append(c.faults, f)
	}
}

// version checks one version. The error is the end of the context.
func (v *verifier) version(ctx context.Context, c *versionCheck) error {
	files := c.files(v.site)
	read, err := hashVersion(ctx, v.site, c.path(), files)
	c.read = read
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		c.fault(FaultContent, c.path(), err.Error())
		return nil
	}
	for key, item := range sorted(c.items) {
		f := files.find(path.Base(item.Path))
		if f == nil {
			continue
		}
		switch {
		case f.stamp.size != item.Size:
			c.fault(FaultContent, item.Path, "its size is not that in the catalog")
		case f.sum.String() != item.SHA256:
			c.fault(FaultContent, item.Path, "its hash is not that in the catalog")
		case item.FType == catalog.LXDMeta || item.FType == catalog.IncusMeta:
			c.combined(key, item, f, files)
		case item.DeltaBase != "":
			if err := v.delta(ctx, c, item); err != nil {
				return err
			}
		}
	}
	c.sight()
	return context.Cause(ctx)
}

// files returns the files of the version that are there, to be hashed.
func (c *versionCheck) files(s *site) *version {
	v := &version{name: c.name}
	for _, item := range sorted(c.items) {
		name := path.Base(item.Path)
		if v.find(name) != nil {
			continue // one tarball may serve both clients
		}
		st, err := s.stat(item.Path)
		if err != nil {
			problem := cause(err).Error()
			if errors.Is(err, fs.ErrNotExist) {
				problem = "it is not there"
			}
			c.fault(FaultMissing, item.Path, problem)
			continue
		}
		v.files = append(v.files, file{name: name, stamp: stampOf(&st), class: classOf(item, name)})
	}
	slices.SortFunc(v.files, func(a, b file) int { return compareVersions(a.name, b.name, false) })
	return v
}

// classOf returns the class of a listed file. What counts is what the catalog says
// it is; of metadata, whose tarball it is, which may serve both clients.
func classOf(item catalog.Item, name string) class {
	for c, ftype := range ftypes {
		if ftype == item.FType {
			return c
		}
	}
	switch {
	case item.FType != catalog.LXDMeta && item.FType != catalog.IncusMeta:
		return tarball
	case exact[name].isMeta():
		return exact[name]
	}
	return exact[item.FType]
}

// combined checks the fingerprints in a metadata item.
func (c *versionCheck) combined(key string, item catalog.Item, meta *file, files *version) {
	i := slices.Index(metaClasses[:], meta.class)
	for _, root := range sorted(c.items) {
		kind := catalog.KindOf(root.FType)
		f := files.find(path.Base(root.Path))
		if kind == nil || f == nil || f.joint == nil {
			continue
		}
		listed := *kind.Field(&item)
		if listed == "" && item.FType == catalog.IncusMeta {
			continue // the old tool gives it none
		}
		if listed != f.joint[i].String() {
			c.fault(FaultCombined, item.Path, "item "+key+": the fingerprint with "+path.Base(root.Path)+" is wrong or missing")
		}
	}
}

// sight checks that clients see an image at all.
func (c *versionCheck) sight() {
	if len(c.items) > 0 && len(catalog.Version{Items: c.items}.Images()) == 0 {
		c.fault(FaultCombined, c.path(), "no client sees an image in it")
	}
}

// delta checks a delta by decoding it.
func (v *verifier) delta(ctx context.Context, c *versionCheck, item catalog.Item) error {
	target := c.target(item)
	base, ok := c.siblings[item.DeltaBase].Items[path.Base(target.Path)]
	switch {
	case target.Path == "":
		c.fault(FaultDelta, item.Path, "there is no file it could make")
		return nil
	case !ok:
		c.fault(FaultDelta, item.Path, "its base is not listed")
		return nil
	case c.count(item.FType) > 1:
		c.fault(FaultDelta, item.Path, "there is another one for the same file")
	}
	want, _ := parseDigest(target.SHA256)
	err := v.xdelta.check(ctx, base.Path, item.Path, want)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		c.fault(FaultDelta, item.Path, err.Error())
	}
	return nil
}

// target returns the item that a delta makes.
func (c *versionCheck) target(delta catalog.Item) catalog.Item {
	for _, item := range sorted(c.items) {
		if item.FType+catalog.DeltaSuffix == delta.FType {
			return item
		}
	}
	return catalog.Item{}
}

func (c *versionCheck) count(ftype string) (n int) {
	for _, item := range c.items {
		if item.FType == ftype {
			n++
		}
	}
	return n
}

// unique checks that no other version has the same images.
func (v *verifier) unique(c *versionCheck) {
	for _, image := range (catalog.Version{Items: c.items}).Images() {
		other, taken := v.prints[image.Fingerprint]
		if taken && other != c.path() {
			v.fault(FaultDuplicate, c.path(), "the image %.12s is in %s as well", image.Fingerprint, other)
			continue
		}
		v.prints[image.Fingerprint] = c.path()
	}
}
