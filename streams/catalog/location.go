package catalog

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// A Location is where a version of a product is on a site, or the product as a whole if it
// has no Version. It is what the tool passes around and compares; the path it stands for
//
//	<stream>/<distro>/<release>/<arch>/<variant>[/<version>]
//
// is made of it at the last moment and taken apart here alone, so that nothing else
// counts slashes.
type Location struct {
	Stream  string
	Product Name
	Version string
}

// In returns the place of the product in a stream.
func (n Name) In(stream string) Location { return Location{Stream: stream, Product: n} }

// Of returns the place of a version of the same product.
func (p Location) Of(version string) Location {
	p.Version = version
	return p
}

// Path returns the directory, from the root of the site.
func (p Location) Path() string {
	n := p.Product
	dir := p.Stream + "/" + n.Distro + "/" + n.Release + "/" + n.Arch + "/" + n.Variant
	if p.Version == "" {
		return dir
	}
	return dir + "/" + p.Version
}

// File returns the path of a file in the directory.
func (p Location) File(name string) string { return p.Path() + "/" + name }

// Compare orders places by stream, product and version, each in byte order.
func (p Location) Compare(other Location) int {
	return cmp.Or(
		strings.Compare(p.Stream, other.Stream),
		strings.Compare(p.Product.ID(), other.Product.ID()),
		strings.Compare(p.Version, other.Version),
	)
}

// Below returns the place of a directory by the names that lead to it from that of a
// stream. Only products and versions have one; the names are taken as they are.
func Below(stream string, names []string) (Location, bool) {
	const product = 4 // parts of a Name
	if len(names) != product && len(names) != product+1 {
		return Location{}, false
	}
	p := Location{Stream: stream, Product: Name{names[0], names[1], names[2], names[3]}}
	if len(names) > product {
		p.Version = names[product]
	}
	return p, true
}

// ParseLocation takes a path apart. Every name in it is checked.
func ParseLocation(dir string) (Location, error) {
	stream, rest, _ := strings.Cut(dir, "/")
	p, ok := Below(stream, strings.Split(rest, "/"))
	if !ok || strings.HasSuffix(rest, "/") { // an empty name is no version
		return p, fmt.Errorf("the path %q is not one of a product or version", dir)
	}
	return p, p.Check()
}

// Check tells whether all parts can be used as names of directories.
func (p Location) Check() error {
	if err := CheckStream(p.Stream); err != nil {
		return err
	}
	if err := p.Product.Check(); err != nil || p.Version == "" {
		return err
	}
	return CheckVersion(p.Version)
}

// MarshalText writes the path.
func (p Location) MarshalText() ([]byte, error) { return []byte(p.Path()), nil }

// UnmarshalText reads a path, and trusts no name in it.
func (p *Location) UnmarshalText(text []byte) (err error) {
	*p, err = ParseLocation(string(text))
	return err
}

// Leads tells whether the first directories of a product, from that of its stream on,
// have these names.
func (n Name) Leads(names []string) bool {
	parts := n.parts()
	return len(names) <= len(parts) && slices.Equal(names, parts[:len(names)])
}

func (n Name) parts() [4]string { return [4]string{n.Distro, n.Release, n.Arch, n.Variant} }

// File returns the name of the item's file in its version.
func (i Item) File() string { return path.Base(i.Path) }
