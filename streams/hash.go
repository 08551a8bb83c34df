package streams

import (
	"context"
	"crypto/sha256"
	"hash"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// metaClasses are the metadata tarballs in the order of file.joint.
var metaClasses = [2]class{metaLXD, metaIncus}

// needsHash tells whether a file of the version has to be read.
func (v *version) needsHash() bool {
	for i := range v.files {
		if v.files[i].class.isItem() && !v.done(&v.files[i]) {
			return true
		}
	}
	return false
}

// done tells whether all hashes of an item are known.
func (v *version) done(f *file) bool {
	return f.hashed && (!f.class.isRootfs() || f.joint != nil)
}

// hashVersion computes what is missing of a version's hashes. Each file is read
// once: what is read of a root file system feeds its own hash and, from the state
// that each metadata tarball left behind, its joint ones. It returns the number of
// bytes read. The first file that cannot be read ends it.
func hashVersion(ctx context.Context, files *site.Files, place catalog.Place, v *version) (read int64, err error) {
	return hashFiles(ctx, files, place, v, func(_ *file, err error) error { return err })
}

// hashFiles is hashVersion, except that failed decides what a file that cannot be read
// means: if it returns no error, the file stays without hashes and the rest is read.
func hashFiles(ctx context.Context, files *site.Files, place catalog.Place, v *version, failed func(*file, error) error) (read int64, err error) {
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
		if err := files.Hash(ctx, place.File(f.name), f.stamp, head); err != nil {
			if err := failed(f, err); err != nil {
				return read, err
			}
			continue
		}
		read += f.stamp.Size
		f.sum, f.hashed, heads[i] = digest.Of(head), true, head
	}
	for i := range v.files {
		f := &v.files[i]
		if !f.class.isItem() || v.done(f) || f.class.isMeta() && f == v.first(f.class) {
			continue
		}
		if err := hashItem(ctx, files, place.File(f.name), f, heads); err != nil {
			if err := failed(f, err); err != nil {
				return read, err
			}
			continue
		}
		read += f.stamp.Size
	}
	return read, nil
}

// hashItem computes the hashes of one file, given the states after the metadata.
func hashItem(ctx context.Context, files *site.Files, name string, f *file, heads [2]hash.Hash) error {
	own := sha256.New()
	hashes := []hash.Hash{own}
	var joint [len(heads)]hash.Hash
	for i, head := range heads {
		switch {
		case !f.class.isRootfs() || head == nil:
		case i > 0 && heads[0] != nil && digest.Of(heads[0]) == digest.Of(head):
			joint[i] = joint[0] // the tarballs are equal, and so is what follows from them
		default:
			joint[i] = clone(head)
			hashes = append(hashes, joint[i])
		}
	}
	if err := files.Hash(ctx, name, f.stamp, hashes...); err != nil {
		return err
	}
	f.sum, f.hashed = digest.Of(own), true
	if f.class.isRootfs() {
		f.joint = new([2]digest.Digest)
		for i, h := range joint {
			if h != nil {
				f.joint[i] = digest.Of(h)
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
