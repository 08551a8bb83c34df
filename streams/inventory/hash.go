package inventory

import (
	"context"
	"crypto/sha256"
	"hash"
	"slices"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// Fingerprints are hashes of two files, one behind the other. That each file is read once for
// all hashes it is part of is the matter of this file; reading it is that of package site.

// metaClasses are the metadata tarballs in the order of FoundFile.Joint.
var metaClasses = [2]class{metaLXD, metaIncus}

// needsHash tells whether a file of the version has to be read.
func (v *FoundVersion) needsHash() bool {
	for i := range v.Files {
		if v.Files[i].Class.IsItem() && !v.done(&v.Files[i]) {
			return true
		}
	}
	return false
}

// Unread returns how many bytes of a version's items have not been read.
func (v *FoundVersion) Unread() (n int64) {
	for i := range v.Files {
		if f := &v.Files[i]; f.Class.IsItem() && !v.done(f) {
			n += f.Stamp.Size
		}
	}
	return n
}

// done tells whether all hashes of an item are known.
func (v *FoundVersion) done(f *FoundFile) bool {
	return f.Hashed && (!f.Class.IsRootfs() || f.Joint != nil)
}

// HashVersion computes what is missing of a version's hashes. Each file is read
// once: what is read of a root file system feeds its own hash and, from the state
// that each metadata tarball left behind, its joint ones. It returns the number of
// bytes read. The first file that cannot be read ends it.
func HashVersion(ctx context.Context, files *site.Files, place catalog.Location, v *FoundVersion) (read int64, err error) {
	return HashFiles(ctx, files, place.File, v, func(_ *FoundFile, err error) error { return err })
}

// HashFiles is HashVersion for files that are where pathOf says, except that failed decides
// what a file that cannot be read means: if it returns no error, the file stays without
// hashes and the rest is read.
func HashFiles(ctx context.Context, files *site.Files, pathOf func(name string) string, v *FoundVersion, failed func(*FoundFile, error) error) (read int64, err error) {
	if !v.needsHash() {
		return 0, nil
	}
	var heads [len(metaClasses)]hash.Hash
	for i, c := range metaClasses {
		f := v.first(c)
		if f == nil {
			continue
		}
		head := sha256.New()
		if err := files.Hash(ctx, pathOf(f.Name), f.Stamp, head); err != nil {
			if err := failed(f, err); err != nil {
				return read, err
			}
			continue
		}
		read += f.Stamp.Size
		f.Sum, f.Hashed, heads[i] = digest.Of(head), true, head
	}
	for i := range v.Files {
		f := &v.Files[i]
		if !f.Class.IsItem() || v.done(f) || f.Class.isMeta() && f == v.first(f.Class) {
			continue
		}
		if err := hashItem(ctx, files, pathOf(f.Name), f, heads); err != nil {
			if err := failed(f, err); err != nil {
				return read, err
			}
			continue
		}
		read += f.Stamp.Size
	}
	return read, nil
}

// hashItem computes the hashes of one file, given the states after the metadata.
func hashItem(ctx context.Context, files *site.Files, name string, f *FoundFile, heads [2]hash.Hash) error {
	own := sha256.New()
	hashes := []hash.Hash{own}
	var joint [len(heads)]hash.Hash
	for i, head := range heads {
		switch {
		case !f.Class.IsRootfs() || head == nil:
		case i > 0 && heads[0] != nil && digest.Of(heads[0]) == digest.Of(head):
			joint[i] = joint[0] // the tarballs are equal, and so is what follows from them
		default:
			joint[i] = clone(head)
			hashes = append(hashes, joint[i])
		}
	}
	if err := files.Hash(ctx, name, f.Stamp, hashes...); err != nil {
		return err
	}
	f.Sum, f.Hashed = digest.Of(own), true
	if f.Class.IsRootfs() {
		f.Joint = new([2]digest.Digest)
		for i, h := range joint {
			if h != nil {
				f.Joint[i] = digest.Of(h)
			}
		}
	}
	return nil
}

func clone(h hash.Hash) hash.Hash {
	c, err := h.(hash.Cloner).Clone()
	if err != nil {
		panic("internal error: " + err.Error()) // sha256 states can always be copied
	}
	return c
}

// Combined returns the hash of the metadata of a class followed by the root file system,
// if it was computed.
func (f *FoundFile) Combined(meta class) digest.Digest {
	return f.Joint[slices.Index(metaClasses[:], meta)]
}
