package streams

import (
	"slices"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
)

// A uniqueness finds images that are there twice. Clients refuse an image whose
// fingerprint they meet a second time, wherever on the server.
type uniqueness map[digest.Digest]catalog.Place

// withhold returns the root file systems of a version that make an image which is
// published already, and where that is. The others count as published from now on.
func (u uniqueness) withhold(where catalog.Place, v *version) (twins map[*file]catalog.Place) {
	for c := range ftypes {
		root := v.first(c)
		if root == nil {
			continue
		}
		prints := v.fingerprints(root)
		if twin, ok := u.any(prints); ok {
			if twins == nil {
				twins = make(map[*file]catalog.Place)
			}
			twins[root] = twin
			continue
		}
		for _, print := range prints {
			u[print] = where
		}
	}
	return twins
}

func (u uniqueness) any(prints []digest.Digest) (catalog.Place, bool) {
	for _, print := range prints {
		if where, ok := u[print]; ok {
			return where, true
		}
	}
	return catalog.Place{}, false
}

// images returns how many root file systems a version has.
func (v *version) images() int {
	n := 0
	for c := range ftypes {
		if v.first(c) != nil {
			n++
		}
	}
	return n
}

// withheld is which root file systems are not listed. Their places in memory do not
// count: those change when a delta joins the files of a version.
type withheld map[*version]map[string]bool

func (w withheld) add(v *version, root *file) {
	if w[v] == nil {
		w[v] = make(map[string]bool)
	}
	w[v][root.name] = true
}

func (w withheld) has(v *version, root *file) bool { return w[v][root.name] }

// prints returns the fingerprints of a version's images, sorted.
func (v *version) prints() []string {
	var list []string
	for c := range ftypes {
		if root := v.first(c); root != nil {
			for _, print := range v.fingerprints(root) {
				list = append(list, print.String())
			}
		}
	}
	slices.Sort(list)
	return list
}
