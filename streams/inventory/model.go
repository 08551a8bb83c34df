// Package inventory is what is on a site: which products, versions and files there are,
// which of them can be listed, which deltas there should be, what is old, what is leaving,
// and on the other side what the catalogs list. It remembers what it has found, so that
// looking again is cheap.
//
// A Location, never a path, says what is meant. The package looks and judges and, but for
// deltas and the memory itself, changes nothing; what is done with what it finds is a
// matter of package streams, and how files are read and written that of package site.
package inventory

import (
	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// The types that all of the package is about: a product, a version and a file as they were
// found on the disk. Their counterparts in catalogs are those of package catalog.

// A FoundProduct is what the tree holds of one product.
type FoundProduct struct {
	Location catalog.Location
	levels   []level         // requirement files above its versions, outermost first
	Versions []*FoundVersion // by name, in byte order
}

// A level is a requirements file in one of the directories above a version.
type level struct {
	path    string
	stamp   site.Stamp
	settled bool
}

// A FoundVersion is one version directory as it was found and judged. It is not changed
// any more once it has been judged, except that deltas join its files.
type FoundVersion struct {
	Name     string
	dir      site.Stamp  // of the directory
	complete bool        // no file can have been added without the directory's time telling
	Files    []FoundFile // those that matter, by name
	deltas   []decision
	Verdict  verdict
	Item     string // the file at fault, if the verdict is about one
	Trouble  string // why it is not listed
	Pending  bool   // a delta of it should be tried again

	Before *FoundVersion // what was known, until it is judged anew
}

// A FoundFile is one that is listed or has a say in what is.
type FoundFile struct {
	Name    string
	Stamp   site.Stamp
	Class   class
	Settled bool              // the stamp can be trusted to change when the content does
	Hashed  bool              // sum is known
	Sum     digest.Digest     //
	Joint   *[2]digest.Digest // of a root file system: hash of each metadata tarball followed by it
}

// A verdict is what became of a version.
type verdict uint8

const (
	Unjudged   verdict = iota
	Incomplete         // not finished yet
	Rejected           // contradicts its checksums
	Failed             // cannot be understood
	Good               // can be listed
)

// Find returns the file of a name, or nil.
func (v *FoundVersion) Find(name string) *FoundFile {
	for i := range v.Files {
		if v.Files[i].Name == name {
			return &v.Files[i]
		}
	}
	return nil
}

// first returns the file of a class that stands for it: the preferred name, or
// else the first one. Clients expect no more than one of a class in a version.
func (v *FoundVersion) first(c class) *FoundFile {
	var found *FoundFile
	for i := range v.Files {
		if f := &v.Files[i]; f.Class == c {
			if f.Name == preferred[c] {
				return f
			}
			if found == nil {
				found = f
			}
		}
	}
	return found
}

// Listed returns the versions that can be listed.
func (p *FoundProduct) Listed() []*FoundVersion {
	var list []*FoundVersion
	for _, v := range p.Versions {
		if v.Verdict == Good {
			list = append(list, v)
		}
	}
	return list
}

// A decision is what was found out about a possible delta of a version.
type decision struct {
	name string        // of the delta file
	key  digest.Digest // of all that the decision depends on
	kept bool          // it makes the item from the base; else it is not worth having
}

// HasComplete tells whether a version is complete, even if it cannot be listed.
func (p *FoundProduct) HasComplete() bool {
	for _, v := range p.Versions {
		if v.Verdict > Incomplete {
			return true
		}
	}
	return false
}
