package inventory

import (
	"slices"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
)

// Clients do not take the same image twice. Which of two is withheld is decided by their order,
// so that it is the same one in every build.

// A Uniqueness finds images that are there twice. Clients refuse an image whose
// fingerprint they meet a second time, wherever on the server.
type Uniqueness map[digest.Digest]catalog.Location

// Withhold returns the root file systems of a version that make an image which is
// published already, and where that is. The others count as published from now on.
func (u Uniqueness) Withhold(where catalog.Location, v *FoundVersion) (twins map[*FoundFile]catalog.Location) {
	for c := range ftypes {
		root := v.first(c)
		if root == nil {
			continue
		}
		prints := v.fingerprints(root)
		if twin, ok := u.any(prints); ok {
			if twins == nil {
				twins = make(map[*FoundFile]catalog.Location)
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

func (u Uniqueness) any(prints []digest.Digest) (catalog.Location, bool) {
	for _, print := range prints {
		if where, ok := u[print]; ok {
			return where, true
		}
	}
	return catalog.Location{}, false
}

// Images returns how many root file systems a version has.
func (v *FoundVersion) Images() int {
	n := 0
	for c := range ftypes {
		if v.first(c) != nil {
			n++
		}
	}
	return n
}

// Withheld is which root file systems are not listed. Their places in memory do not
// count: those change when a delta joins the files of a version.
type Withheld map[*FoundVersion]map[string]bool

// Add notes that a root file system of a version is not listed.
func (w Withheld) Add(v *FoundVersion, root *FoundFile) {
	if w[v] == nil {
		w[v] = make(map[string]bool)
	}
	w[v][root.Name] = true
}

// Has tells whether it is one.
func (w Withheld) Has(v *FoundVersion, root *FoundFile) bool { return w[v][root.Name] }

// Prints returns the fingerprints of a version's images, sorted.
func (v *FoundVersion) Prints() []string {
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
