package streams

// A uniqueness finds images that are there twice. Clients refuse an image whose
// fingerprint they meet a second time, wherever on the server.
type uniqueness map[digest]string

// withhold returns the root file systems of a version that make an image which is
// published already, and where that is. The others count as published from now on.
func (u uniqueness) withhold(where string, v *version) (twins map[*file]string) {
	for c := range ftypes {
		root := v.first(c)
		if root == nil {
			continue
		}
		prints := v.fingerprints(root)
		if twin, ok := u.any(prints); ok {
			if twins == nil {
				twins = make(map[*file]string)
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

func (u uniqueness) any(prints []digest) (string, bool) {
	for _, print := range prints {
		if where, ok := u[print]; ok {
			return where, true
		}
	}
	return "", false
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

// unique returns the versions that have an image which none before them has.
func unique(versions []*version) []*version {
	u := make(uniqueness)
	var list []*version
	for _, v := range versions {
		if len(u.withhold("", v)) < v.images() {
			list = append(list, v)
		}
	}
	return list
}
