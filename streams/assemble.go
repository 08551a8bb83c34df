package streams

import (
	"strings"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
)

// An assembler makes the catalog's products of what is known of the tree.
type assembler struct {
	upstream bool
	disks    DiskDeltas
	withheld withheld // root file systems that are published elsewhere already
}

// product returns the catalog's form of a product, with the versions given.
func (a *assembler) product(p *product, versions []*version, s settings) *catalog.Product {
	c := &catalog.Product{
		Aliases:         strings.Join(catalog.Aliases(p.place.Product, s.releases), ","),
		Arch:            p.place.Product.Arch,
		Distro:          p.place.Product.Distro,
		OS:              s.os,
		Release:         p.place.Product.Release,
		ReleaseTitle:    p.place.Product.Release,
		Variant:         p.place.Product.Variant,
		Versions:        make(map[string]catalog.Version, len(versions)),
		Requirements:    s.requirements,
		LXDRequirements: s.lxdRequirements,
	}
	if c.OS == "" {
		c.OS = catalog.Title(p.place.Product.Distro)
	}
	deltas := make(map[*version][]wish)
	for _, w := range wishes(p, versions, a.disks) {
		deltas[w.target] = append(deltas[w.target], w)
	}
	for _, v := range versions {
		if items := a.items(p.place.Of(v.name), v, deltas[v]); items != nil {
			c.Versions[v.name] = catalog.Version{Items: items}
		}
	}
	return c
}

// items returns the items of a version, or nil if no root file system is left.
func (a *assembler) items(place catalog.Place, v *version, deltas []wish) map[string]catalog.Item {
	items := make(map[string]catalog.Item)
	var roots []*file
	for c := range ftypes {
		if f := v.first(c); f != nil && !a.withheld.has(v, f) {
			items[f.name] = item(place, f, ftypes[c])
			roots = append(roots, f)
		}
	}
	if roots == nil {
		return nil
	}
	for i := range v.files {
		if f := &v.files[i]; f.class == tarball {
			items[f.name] = item(place, f, f.name)
		}
	}
	for _, w := range deltas {
		if to := w.to(); w.listed() && !a.withheld.has(w.target, to) {
			d := item(place, w.file(), ftypes[to.class]+catalog.DeltaSuffix)
			d.DeltaBase = w.base.name
			items[w.name] = d
		}
	}
	a.addMeta(items, place, v, roots)
	return items
}

func item(place catalog.Place, f *file, ftype string) catalog.Item {
	return catalog.Item{FType: ftype, Path: place.File(f.name), Size: f.stamp.Size, SHA256: f.sum.String()}
}

// addMeta adds an item for each client's metadata, with the fingerprints of the
// images. Where there is only one tarball it serves both: the formats are the same.
func (a *assembler) addMeta(items map[string]catalog.Item, place catalog.Place, v *version, roots []*file) {
	names := [...]string{catalog.LXDMeta, catalog.IncusMeta}
	for i, c := range metaClasses {
		f := v.first(c)
		if f == nil {
			continue
		}
		meta := item(place, f, names[i])
		for _, root := range roots {
			*catalog.KindOf(ftypes[root.class]).Field(&meta) = root.joint[i].String()
		}
		if !a.upstream {
			meta.Combined = meta.CombinedRootxz
		}
		items[names[i]] = meta
		if twin := names[1-i]; !a.upstream && v.first(metaClasses[1-i]) == nil {
			meta.FType = twin
			items[twin] = meta
		}
	}
}

// fingerprints returns those of the images that a root file system is part of.
func (v *version) fingerprints(root *file) []digest.Digest {
	var list []digest.Digest
	for i, c := range metaClasses {
		if v.first(c) != nil && (len(list) == 0 || list[0] != root.joint[i]) {
			list = append(list, root.joint[i])
		}
	}
	return list
}
