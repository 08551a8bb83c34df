package inventory

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// SHA256SUMS files come from whoever uploads, in many forms, perhaps signed.

// UpdateSums enters the hashes of deltas into the SHA256SUMS of a version, removing
// those that are zero, and returns the stamp of what is there then. One that is
// signed stays as it is.
func UpdateSums(files *site.Files, place catalog.Location, edits map[string]digest.Digest) (site.Stamp, error) {
	name := place.File(SumsName)
	data, err := files.ReadSmall(name)
	if err != nil {
		return site.Stamp{}, err
	}
	edited := digest.EditSums(data, edits)
	if string(edited) != string(data) && !signed(files, name) {
		err = files.Replace(name, dirfd.Bytes(edited))
	}
	if err != nil {
		return site.Stamp{}, err
	}
	st, err := files.Lstat(name)
	return site.StampOf(&st), err
}

// signedSum returns what the SHA256SUMS of a version say of a file, nil if they say
// nothing or nobody has signed them, so that they can be changed.
func signedSum(files *site.Files, place catalog.Location, name string) (*digest.Digest, error) {
	sums := place.File(SumsName)
	if !signed(files, sums) {
		return nil, nil
	}
	data, err := files.ReadSmall(sums)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if sum, ok := digest.ParseSums(data)[name]; ok {
		return &sum, nil
	}
	return nil, nil
}

// signed tells whether there is a detached signature beside a file.
func signed(files *site.Files, name string) bool {
	for _, suffix := range digest.SignatureSuffixes {
		if _, err := files.Lstat(name + suffix); err == nil {
			return true
		}
	}
	return false
}

// WriteSums writes the hashes of a version's items.
func WriteSums(files *site.Files, place catalog.Location, v *FoundVersion) error {
	return files.Write(place.File(SumsName), func(w *bufio.Writer) error {
		for _, f := range v.Files {
			if f.Class.IsItem() {
				fmt.Fprintf(w, "%s  %s\n", f.Sum, f.Name) // the writer keeps its error
			}
		}
		return nil
	})
}
