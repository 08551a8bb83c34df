package streams

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/site"
)

// The check of one version runs beside those of others and keeps what it finds to itself until
// collect takes it over, in the order of the catalog.

// A versionCheck is the check of one version, done beside others. What it found is
// all that stays of it.
type versionCheck struct {
	dir    string // of the version, from the root
	count  int    // items
	read   int64
	faults []Fault
	prints []string // fingerprints

	unchecked []string // deltas that were not decoded for want of xdelta3

	items    map[string]catalog.Item
	siblings map[string]catalog.Version // all versions of the product
}

// collect adds what a check found to the report, and looks whether another version
// has the same images.
func (v *verifier) collect(c *versionCheck) {
	v.report.Versions++
	v.report.Items += c.count
	v.report.Bytes += c.read
	v.report.Faults = append(v.report.Faults, c.faults...)
	v.unchecked = append(v.unchecked, c.unchecked...)
	for _, print := range c.prints {
		if other := v.prints[print]; other != nil && other != c {
			v.fault(faultDuplicate, c.dir, "the image %.12s is in %s as well", print, other.dir)
			continue
		}
		v.prints[print] = c
	}
}

func (c *versionCheck) fault(kind FaultKind, name, problem string) {
	f := Fault{Kind: kind, Path: name, Problem: problem}
	if !slices.Contains(c.faults, f) { // two items may share a file
		c.faults = append(c.faults, f)
	}
}

// version checks one version. The error is the end of the context.
func (v *verifier) version(ctx context.Context, c *versionCheck, name string, siblings map[string]catalog.Version) error {
	c.items, c.siblings = siblings[name].Items, siblings
	defer func() { c.items, c.siblings = nil, nil }()
	c.count = len(c.items)
	for _, image := range (catalog.Version{Items: c.items}).Images() {
		c.prints = append(c.prints, image.Fingerprint)
	}
	if c.count > 0 && c.prints == nil {
		c.fault(faultCombined, c.dir, "no client sees an image in it")
	}
	files := c.files(v.files)
	var err error
	pathOf := func(name string) string { return name }
	c.read, err = inventory.HashFiles(ctx, v.files, pathOf, files, func(f *inventory.FoundFile, err error) error {
		c.fault(faultContent, f.Name, "it cannot be read: "+dirfd.Cause(err).Error())
		return context.Cause(ctx)
	})
	if err != nil {
		return err
	}
	for key, item := range inventory.Sorted(c.items) {
		f := files.Find(item.Path)
		switch {
		case f == nil || !f.Hashed: // which was said
		case f.Stamp.Size != item.Size:
			c.fault(faultContent, item.Path, wrongSize)
		case f.Sum.String() != item.SHA256:
			c.fault(faultContent, item.Path, "its hash is not that in the catalog")
		case item.FType == catalog.LXDMeta || item.FType == catalog.IncusMeta:
			c.combined(key, item, f, files)
		case item.DeltaBase != "":
			v.delta(ctx, c, item)
		}
	}
	return context.Cause(ctx)
}

// files returns the files of the version that are there, to be hashed, by their paths: other
// tools put them where they like.
func (c *versionCheck) files(files *site.Files) *inventory.FoundVersion {
	v := new(inventory.FoundVersion)
	for _, item := range inventory.Sorted(c.items) {
		if v.Find(item.Path) != nil {
			continue // one tarball may serve both clients
		}
		st, err := files.StatFile(item.Path)
		if err != nil {
			problem := dirfd.Cause(err).Error()
			if errors.Is(err, fs.ErrNotExist) {
				problem = "it is not there"
			}
			c.fault(faultMissing, item.Path, problem)
			continue
		}
		if st.Size != item.Size { // whatever is in it, of which there may be terabytes
			c.fault(faultContent, item.Path, wrongSize)
			continue
		}
		v.Files = append(v.Files, inventory.FoundFile{Name: item.Path, Stamp: site.StampOf(&st), Class: inventory.ClassOf(item)})
	}
	slices.SortFunc(v.Files, func(a, b inventory.FoundFile) int { return inventory.CompareVersions(a.Name, b.Name, false) })
	return v
}

const wrongSize = "its size is not that in the catalog"

// combined checks the fingerprints in a metadata item.
func (c *versionCheck) combined(key string, item catalog.Item, meta *inventory.FoundFile, files *inventory.FoundVersion) {
	for _, root := range inventory.Sorted(c.items) {
		kind := catalog.KindOf(root.FType)
		f := files.Find(root.Path)
		if kind == nil || f == nil || f.Joint == nil {
			continue
		}
		listed := *kind.Field(&item)
		if listed == "" && item.FType == catalog.IncusMeta {
			continue // the old tool gives it none
		}
		if listed != f.Combined(meta.Class).String() {
			c.fault(faultCombined, item.Path, "item "+key+": the fingerprint with "+root.File()+" is wrong or missing")
		}
	}
}

// delta checks a delta by decoding it. That it could not be decoded here says nothing
// about it.
func (v *verifier) delta(ctx context.Context, c *versionCheck, item catalog.Item) {
	target := c.target(item)
	base, ok := c.siblings[item.DeltaBase].Items[target.File()]
	switch {
	case target.Path == "":
		c.fault(faultDelta, item.Path, "there is no file it could make")
		return
	case !ok:
		c.fault(faultDelta, item.Path, "its base is not listed")
		return
	case c.countOf(item.FType) > 1:
		c.fault(faultDelta, item.Path, "there is another one for the same file")
	}
	if v.xdelta.Available(ctx) != nil {
		c.unchecked = append(c.unchecked, item.Path)
		return
	}
	want, _ := digest.Parse(target.SHA256)
	switch err := v.xdelta.Check(ctx, base.Path, item.Path, want); {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, inventory.ErrDecode):
		c.fault(faultDelta, item.Path, err.Error())
	default:
		c.fault(faultUnchecked, item.Path, "it cannot be checked: "+err.Error())
	}
}

// target returns the item that a delta makes.
func (c *versionCheck) target(delta catalog.Item) catalog.Item {
	for _, item := range inventory.Sorted(c.items) {
		if item.FType+catalog.DeltaSuffix == delta.FType {
			return item
		}
	}
	return catalog.Item{}
}

func (c *versionCheck) countOf(ftype string) (n int) {
	for _, item := range c.items {
		if item.FType == ftype {
			n++
		}
	}
	return n
}
