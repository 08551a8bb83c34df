package streams

import (
	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// A product is what the tree holds of one product.
type product struct {
	place    catalog.Place
	levels   []level    // requirement files above its versions, outermost first
	versions []*version // by name, in byte order
}

// A level is a requirements file in one of the directories above a version.
type level struct {
	path    string
	stamp   site.Stamp
	settled bool
}

// A version is one version directory as it was found and judged. It is not changed
// any more once it has been judged, except that deltas join its files.
type version struct {
	name     string
	dir      site.Stamp // of the directory
	complete bool       // no file can have been added without the directory's time telling
	files    []file     // those that matter, by name
	deltas   []decision
	verdict  verdict
	item     string // the file at fault, if the verdict is about one
	trouble  string // why it is not listed
	pending  bool   // a delta of it should be tried again

	before *version // what was known, until it is judged anew
}

// A file is one that is listed or has a say in what is.
type file struct {
	name    string
	stamp   site.Stamp
	class   class
	settled bool              // the stamp can be trusted to change when the content does
	hashed  bool              // sum is known
	sum     digest.Digest     //
	joint   *[2]digest.Digest // of a root file system: hash of each metadata tarball followed by it
}

// A verdict is what became of a version.
type verdict uint8

const (
	unjudged   verdict = iota
	incomplete         // not finished yet
	rejected           // contradicts its checksums
	failed             // cannot be understood
	good               // can be listed
)

// find returns the file of a name, or nil.
func (v *version) find(name string) *file {
	for i := range v.files {
		if v.files[i].name == name {
			return &v.files[i]
		}
	}
	return nil
}

// first returns the file of a class that stands for it: the preferred name, or
// else the first one. Clients expect no more than one of a class in a version.
func (v *version) first(c class) *file {
	var found *file
	for i := range v.files {
		if f := &v.files[i]; f.class == c {
			if f.name == preferred[c] {
				return f
			}
			if found == nil {
				found = f
			}
		}
	}
	return found
}

// listed returns the versions that can be listed.
func (p *product) listed() []*version {
	var list []*version
	for _, v := range p.versions {
		if v.verdict == good {
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
