package inventory

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
)

// Which deltas there should be, and what is known of each. A decision hangs on the hashes of
// all that it depends on, so that it holds until one of them changes.

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

// A Wish is a delta that should be there.
type Wish struct {
	place        catalog.Location // of the product
	Name         string           // of the delta file
	item         string           // of the file it makes, and of the one it is made from
	Target, Base *FoundVersion
	signed       *digest.Digest // what signed checksums say the delta file is; nil: nothing
}

func (w Wish) from() *FoundFile { return w.Base.Find(w.item) }

// To is the file that the delta makes, File the delta itself, nil if there is none.
func (w Wish) To() *FoundFile   { return w.Target.Find(w.item) }
func (w Wish) File() *FoundFile { return w.Target.Find(w.Name) }

// agrees tells whether a delta file of this hash can be there beside the checksums.
func (w Wish) agrees(sum digest.Digest) bool { return w.signed == nil || *w.signed == sum }

func (w Wish) fromPath() string { return w.place.Of(w.Base.Name).File(w.item) }
func (w Wish) toPath() string   { return w.place.Of(w.Target.Name).File(w.item) }
func (w Wish) filePath() string { return w.place.Of(w.Target.Name).File(w.Name) }

// Wishes returns the deltas of a product: each version's root file systems from
// those of the version just before it, if they have the same name there. Clients
// fail on a second delta for the same file, so there is never more than one.
func Wishes(p *FoundProduct, list []*FoundVersion, disks DiskDeltas) []Wish {
	var all []Wish
	for i := 1; i < len(list); i++ {
		target, base := list[i], list[i-1]
		for _, c := range []class{squashfs, diskQcow2} {
			to, from := target.first(c), base.first(c)
			if to == nil || from == nil || to.Name != from.Name {
				continue
			}
			if c == diskQcow2 && (disks == DiskDeltasNever || disks == DiskDeltasSafe && base.first(squashfs) != nil) {
				continue
			}
			all = append(all, Wish{p.Location, deltaNameOf(to.Name, base.Name), to.Name, target, base, nil})
		}
	}
	return all
}

// keptKey is the key of the decision to list a delta file: it was decoded.
func (w Wish) keptKey(delta *FoundFile) digest.Digest {
	h := sha256.New()
	for _, f := range []*FoundFile{w.from(), w.To(), delta} {
		h.Write(f.Sum[:])
	}
	return digest.Of(h)
}

// droppedKey is the key of the decision that a delta is not worth having.
func (w Wish) droppedKey(share float64) digest.Digest {
	h := sha256.New()
	h.Write(w.from().Sum[:])
	h.Write(w.To().Sum[:])
	binary.Write(h, binary.BigEndian, math.Float64bits(share))
	return digest.Of(h)
}

// Decided tells whether there is nothing to do about a wish, as far as is known.
func (w Wish) Decided(share float64) bool {
	d := w.Target.decision(w.Name)
	return d != nil && (w.listed() || !d.kept && d.key == w.droppedKey(share))
}

// listed tells whether the delta file is known to make its item.
func (w Wish) listed() bool {
	d, f := w.Target.decision(w.Name), w.File()
	return d != nil && d.kept && f != nil && f.Hashed && d.key == w.keptKey(f)
}

func (v *FoundVersion) decision(name string) *decision {
	for i := range v.deltas {
		if v.deltas[i].name == name {
			return &v.deltas[i]
		}
	}
	return nil
}

// A DeltaResult is what became of a wish. The version is changed with it only when
// no other of its wishes is worked on.
type DeltaResult struct {
	Wish
	File *FoundFile // nil: there is none
	Kept bool
	key  digest.Digest
	Made bool // it was not there before
	Err  error
}

// Apply enters the result into the version.
func (r *DeltaResult) Apply() {
	v := r.Target
	v.Files = slices.DeleteFunc(slices.Clone(v.Files), func(f FoundFile) bool { return f.Name == r.Name })
	if r.File != nil {
		v.Files = append(v.Files, *r.File)
		slices.SortFunc(v.Files, func(a, b FoundFile) int { return strings.Compare(a.Name, b.Name) })
	}
	v.deltas = slices.DeleteFunc(slices.Clone(v.deltas), func(d decision) bool { return d.name == r.Name })
	if r.Err != nil {
		v.Pending = true
		return
	}
	v.deltas = append(v.deltas, decision{r.Name, r.key, r.Kept})
}

// Attrs are what a log says of the delta.
func (r *DeltaResult) Attrs() []any {
	return []any{"product", r.place.Product.ID(), "version", r.Target.Name, "item", r.Name, "deltaBase", r.Base.Name}
}

// deltaNameOf returns the name of the delta that makes an item from the same item
// of the version base.
func deltaNameOf(item, base string) string {
	if stem, ok := strings.CutSuffix(item, ".qcow2"); ok {
		return stem + "." + base + ".qcow2" + catalog.DeltaSuffix
	}
	stem := strings.TrimSuffix(item, ".squashfs")
	return stem + "." + base + catalog.DeltaSuffix
}
