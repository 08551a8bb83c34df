package streams

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
)

// DiskDeltas says for which versions deltas of VM disks are listed. Incus applies
// them to the container image of the base version if it has that, which fails.
type DiskDeltas int

const (
	DiskDeltasSafe   DiskDeltas = iota // only where the base version has no squashfs
	DiskDeltasAlways                   // as the old tool: for servers that Incus does not use
	DiskDeltasNever
)

// ParseDiskDeltas returns what "safe", "always" or "never" means.
func ParseDiskDeltas(name string) (DiskDeltas, error) {
	for i, known := range []string{"safe", "always", "never"} {
		if name == known {
			return DiskDeltas(i), nil
		}
	}
	return 0, fmt.Errorf("%q is not one of always, never, safe", name)
}

// DeltaOptions say which deltas are made.
type DeltaOptions struct {
	Off      bool       // make none; those that are there stay listed
	Disks    DiskDeltas // which deltas of VM disks are made and listed
	MaxShare float64    // a delta larger than this share of its file is not worth it; 0: 0.8
	Memory   int64      // bytes the xdelta3 processes may take together; 0: half of the machine's
	Retain   Retention  // only versions that this keeps get a delta; the zero value keeps all
}

func (o DeltaOptions) maxShare() float64 { return cmp.Or(o.MaxShare, 0.8) }

// A wish is a delta that should be there.
type wish struct {
	place        catalog.Place // of the product
	name         string        // of the delta file
	item         string        // of the file it makes, and of the one it is made from
	target, base *version
	signed       *digest.Digest // what signed checksums say the delta file is; nil: nothing
}

func (w wish) from() *file { return w.base.find(w.item) }
func (w wish) to() *file   { return w.target.find(w.item) }
func (w wish) file() *file { return w.target.find(w.name) }

// agrees tells whether a delta file of this hash can be there beside the checksums.
func (w wish) agrees(sum digest.Digest) bool { return w.signed == nil || *w.signed == sum }

func (w wish) fromPath() string { return w.place.Of(w.base.name).File(w.item) }
func (w wish) toPath() string   { return w.place.Of(w.target.name).File(w.item) }
func (w wish) filePath() string { return w.place.Of(w.target.name).File(w.name) }

// wishes returns the deltas of a product: each version's root file systems from
// those of the version just before it, if they have the same name there. Clients
// fail on a second delta for the same file, so there is never more than one.
func wishes(p *product, list []*version, disks DiskDeltas) []wish {
	var all []wish
	for i := 1; i < len(list); i++ {
		target, base := list[i], list[i-1]
		for _, c := range []class{squashfs, diskQcow2} {
			to, from := target.first(c), base.first(c)
			if to == nil || from == nil || to.name != from.name {
				continue
			}
			if c == diskQcow2 && (disks == DiskDeltasNever || disks == DiskDeltasSafe && base.first(squashfs) != nil) {
				continue
			}
			all = append(all, wish{p.place, deltaNameOf(to.name, base.name), to.name, target, base, nil})
		}
	}
	return all
}

// keptKey is the key of the decision to list a delta file: it was decoded.
func (w wish) keptKey(delta *file) digest.Digest {
	h := sha256.New()
	for _, f := range []*file{w.from(), w.to(), delta} {
		h.Write(f.sum[:])
	}
	return digest.Of(h)
}

// droppedKey is the key of the decision that a delta is not worth having.
func (w wish) droppedKey(share float64) digest.Digest {
	h := sha256.New()
	h.Write(w.from().sum[:])
	h.Write(w.to().sum[:])
	binary.Write(h, binary.BigEndian, math.Float64bits(share))
	return digest.Of(h)
}

// decided tells whether there is nothing to do about a wish, as far as is known.
func (w wish) decided(share float64) bool {
	d := w.target.decision(w.name)
	return d != nil && (w.listed() || !d.kept && d.key == w.droppedKey(share))
}

// listed tells whether the delta file is known to make its item.
func (w wish) listed() bool {
	d, f := w.target.decision(w.name), w.file()
	return d != nil && d.kept && f != nil && f.hashed && d.key == w.keptKey(f)
}

func (v *version) decision(name string) *decision {
	for i := range v.deltas {
		if v.deltas[i].name == name {
			return &v.deltas[i]
		}
	}
	return nil
}

// A deltaResult is what became of a wish. The version is changed with it only when
// no other of its wishes is worked on.
type deltaResult struct {
	wish
	file *file // nil: there is none
	kept bool
	key  digest.Digest
	made bool // it was not there before
	err  error
}

// apply enters the result into the version.
func (r *deltaResult) apply() {
	v := r.target
	v.files = slices.DeleteFunc(slices.Clone(v.files), func(f file) bool { return f.name == r.name })
	if r.file != nil {
		v.files = append(v.files, *r.file)
		slices.SortFunc(v.files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	}
	v.deltas = slices.DeleteFunc(slices.Clone(v.deltas), func(d decision) bool { return d.name == r.name })
	if r.err != nil {
		v.pending = true
		return
	}
	v.deltas = append(v.deltas, decision{r.name, r.key, r.kept})
}
