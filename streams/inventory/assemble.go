package inventory

import (
	"strings"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
)

// From what is known of the files to what the catalog says of them. Everything that clients
// read of a version is made here and nowhere else.

// An Assembler makes the catalog's products of what is known of the tree.
type Assembler struct {
	Upstream bool
	Disks    DiskDeltas
	Withheld Withheld // root file systems that are published elsewhere already
}

// Product returns the catalog's form of a product, with the versions given.
func (a *Assembler) Product(p *FoundProduct, versions []*FoundVersion, s settings) *catalog.Product {
	c := &catalog.Product{
		Aliases:         strings.Join(catalog.Aliases(p.Location.Product, s.releases), ","),
		Arch:            p.Location.Product.Arch,
		Distro:          p.Location.Product.Distro,
		OS:              s.os,
		Release:         p.Location.Product.Release,
		ReleaseTitle:    p.Location.Product.Release,
		Variant:         p.Location.Product.Variant,
		Versions:        make(map[string]catalog.Version, len(versions)),
		Requirements:    s.requirements,
		LXDRequirements: s.lxdRequirements,
	}
	if !a.Upstream && c.LXDRequirements == nil && len(c.Requirements) > 0 {
		c.LXDRequirements = c.Requirements // LXD 5.0 reads only these, and newer ones these first
	}
	if c.OS == "" {
		c.OS = catalog.Title(p.Location.Product.Distro)
	}
	deltas := make(map[*FoundVersion][]Wish)
	for _, w := range Wishes(p, versions, a.Disks) {
		deltas[w.Target] = append(deltas[w.Target], w)
	}
	for _, v := range versions {
		if items := a.items(p.Location.Of(v.Name), v, deltas[v]); items != nil {
			c.Versions[v.Name] = catalog.Version{Items: items}
		}
	}
	return c
}

// items returns the items of a version, or nil if no root file system is left.
func (a *Assembler) items(place catalog.Location, v *FoundVersion, deltas []Wish) map[string]catalog.Item {
	items := make(map[string]catalog.Item)
	var roots []*FoundFile
	for c := range ftypes {
		if f := v.first(c); f != nil && !a.Withheld.Has(v, f) {
			items[f.Name] = item(place, f, ftypes[c])
			roots = append(roots, f)
		}
	}
	if roots == nil {
		return nil
	}
	for i := range v.Files {
		if f := &v.Files[i]; f.Class == tarball {
			items[f.Name] = item(place, f, f.Name)
		}
	}
	for _, w := range deltas {
		if to := w.To(); w.listed() && !a.Withheld.Has(w.Target, to) {
			d := item(place, w.File(), ftypes[to.Class]+catalog.DeltaSuffix)
			d.DeltaBase = w.Base.Name
			items[w.Name] = d
		}
	}
	a.addMeta(items, place, v, roots)
	return items
}

func item(place catalog.Location, f *FoundFile, ftype string) catalog.Item {
	return catalog.Item{FType: ftype, Path: place.File(f.Name), Size: f.Stamp.Size, SHA256: f.Sum.String()}
}

// addMeta adds an item for each client's metadata, with the fingerprints of the
// images. Where there is only one tarball it serves both: the formats are the same.
func (a *Assembler) addMeta(items map[string]catalog.Item, place catalog.Location, v *FoundVersion, roots []*FoundFile) {
	names := [...]string{catalog.LXDMeta, catalog.IncusMeta}
	for i, c := range metaClasses {
		f := v.first(c)
		if f == nil {
			continue
		}
		meta := item(place, f, names[i])
		for _, root := range roots {
			*catalog.KindOf(ftypes[root.Class]).Field(&meta) = root.Joint[i].String()
		}
		if !a.Upstream {
			meta.Combined = meta.CombinedRootxz
		}
		items[names[i]] = meta
		if twin := names[1-i]; !a.Upstream && v.first(metaClasses[1-i]) == nil {
			meta.FType = twin
			items[twin] = meta
		}
	}
}

// fingerprints returns those of the images that a root file system is part of.
func (v *FoundVersion) fingerprints(root *FoundFile) []digest.Digest {
	var list []digest.Digest
	for i, c := range metaClasses {
		if v.first(c) != nil && (len(list) == 0 || list[0] != root.Joint[i]) {
			list = append(list, root.Joint[i])
		}
	}
	return list
}
