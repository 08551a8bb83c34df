// Package catalog is the JSON of a simplestreams image server: the product
// catalog of each stream and the index that lists them. It reads catalogs of any
// maker one product at a time, trusts no name in them, and writes them byte for
// byte as clients and other tools know them. It does not look at the image files.
package catalog

import (
	"cmp"
	"maps"
	"path"
	"slices"
)

// What the format and datatype keys say.
const (
	FormatIndex    = "index:1.0"
	FormatProducts = "products:1.0"
	Datatype       = "image-downloads"
)

// Names of the two metadata tarballs; they are item names and ftypes alike. LXD
// looks for the first, Incus for the second.
const (
	LXDMeta   = "lxd.tar.xz"
	IncusMeta = "incus.tar.xz"
)

// The ftypes of unified images, each for one client. Only other tools list them.
const (
	LXDUnified   = "lxd_combined.tar.gz"
	IncusUnified = "incus_combined.tar.gz"
)

// DeltaSuffix ends the ftype of a delta, after that of the item it makes.
const DeltaSuffix = ".vcdiff"

// A Product is one distribution, release, architecture and variant. The order of
// the fields is the order of the keys.
type Product struct {
	Aliases         string             `json:"aliases"` // separated by commas
	Arch            string             `json:"arch"`
	Distro          string             `json:"distro"`
	OS              string             `json:"os"`
	Release         string             `json:"release"`
	ReleaseTitle    string             `json:"release_title"`
	Variant         string             `json:"variant"`
	Versions        map[string]Version `json:"versions,omitempty"`
	Requirements    map[string]string  `json:"requirements"`
	LXDRequirements map[string]string  `json:"lxd_requirements,omitzero"` // what LXD sees instead, even if empty

	// Foreign says that another tool has listed the product: its id and the paths of its
	// files are what that tool made them, and have nothing to do with its Name.
	Foreign bool `json:"-"`
}

// Name returns the directory names that make up the product's identity.
func (p *Product) Name() Name {
	return Name{Distro: p.Distro, Release: p.Release, Arch: p.Arch, Variant: p.Variant}
}

// Dir returns the directory of a version, from the root of the site. Where another tool
// has put its files, that is the one of the first.
func (p *Product) Dir(stream, version string) string {
	if !p.Foreign {
		return p.Name().In(stream).Of(version).Path()
	}
	items := p.Versions[version].Items
	if len(items) == 0 {
		return stream
	}
	return path.Dir(items[slices.Min(slices.Collect(maps.Keys(items)))].Path)
}

// VersionNames returns the names of the versions in byte order, which is the
// order clients use.
func (p *Product) VersionNames() []string {
	names := make([]string, 0, len(p.Versions))
	for name := range p.Versions {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// A Version is one build of a product.
type Version struct {
	Items map[string]Item `json:"items,omitempty"`
}

// An Item is one file of a version. The combined hashes are those of the metadata
// tarball followed by a root file system: the fingerprints of the images.
type Item struct {
	FType          string `json:"ftype"`
	Path           string `json:"path"` // from the root of the server
	Size           int64  `json:"size"`
	SHA256         string `json:"sha256"`
	CombinedDisk   string `json:"combined_disk-kvm-img_sha256,omitempty"`
	CombinedSquash string `json:"combined_squashfs_sha256,omitempty"`
	CombinedRootxz string `json:"combined_rootxz_sha256,omitempty"`
	Combined       string `json:"combined_sha256,omitempty"` // older clients read it for the rootxz one
	CombinedDisk1  string `json:"combined_disk1-img_sha256,omitempty"`
	CombinedUEFI1  string `json:"combined_uefi1-img_sha256,omitempty"`
	DeltaBase      string `json:"delta_base,omitempty"`    // version the delta starts from
	CombinedType   string `json:"combined_type,omitempty"` // of a unified image for Incus: container or virtual-machine
}

// A RootKind is a kind of root file system.
type RootKind struct {
	FType string
	VM    bool
	Field func(*Item) *string // the combined hash in the metadata item
}

// kinds are the root file systems that clients know, in the order in which they
// prefer them for an alias.
var kinds = []RootKind{
	{"squashfs", false, func(i *Item) *string { return &i.CombinedSquash }},
	{"root.tar.xz", false, func(i *Item) *string { return &i.CombinedRootxz }},
	{"disk-kvm.img", true, func(i *Item) *string { return &i.CombinedDisk }},
	{"uefi1.img", true, func(i *Item) *string { return &i.CombinedUEFI1 }},
	{"disk1.img", true, func(i *Item) *string { return &i.CombinedDisk1 }},
}

// A Pairing is what a client sees in a version: metadata and a root file system.
type Pairing struct {
	Fingerprint string
	VM          bool
	Meta, Root  string // keys of the items; the same one for a unified image
}

// Images returns the images of a version as clients pair them: every metadata item
// with every root file system it has a combined hash for, and unified images.
func (v Version) Images() []Pairing {
	var images []Pairing
	for metaKey, meta := range v.Items {
		if meta.FType == LXDUnified || meta.FType == IncusUnified {
			images = append(images, Pairing{meta.SHA256, meta.CombinedType == "virtual-machine", metaKey, metaKey})
		}
		if meta.FType != LXDMeta && meta.FType != IncusMeta {
			continue
		}
		for rootKey, root := range v.Items {
			if kind := KindOf(root.FType); kind != nil && *kind.Field(&meta) != "" {
				images = append(images, Pairing{*kind.Field(&meta), kind.VM, metaKey, rootKey})
			}
		}
	}
	slices.SortFunc(images, func(a, b Pairing) int {
		return cmp.Or(cmp.Compare(rank(v, a), rank(v, b)), -cmp.Compare(a.Meta, b.Meta), cmp.Compare(a.Root, b.Root))
	})
	return images
}

func rank(v Version, i Pairing) int {
	return slices.IndexFunc(kinds, func(k RootKind) bool { return k.FType == v.Items[i.Root].FType })
}

// KindOf returns the kind of root file system an ftype stands for, or nil.
func KindOf(ftype string) *RootKind {
	for i := range kinds {
		if kinds[i].FType == ftype {
			return &kinds[i]
		}
	}
	return nil
}

// An Index lists the catalogs of a server.
type Index struct {
	Format  string                `json:"format"`
	Entries map[string]IndexEntry `json:"index"`
}

// An IndexEntry is one catalog in the index.
type IndexEntry struct {
	Datatype string   `json:"datatype"`
	Path     string   `json:"path"`
	Format   string   `json:"format"`
	Updated  string   `json:"updated"` // RFC 3339
	Products []string `json:"products"`
}
