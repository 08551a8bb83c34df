package layer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
)

// A Remote is a store elsewhere that builds share, such as a registry. It is never
// needed: what it does not have, or cannot give now, is built.
type Remote interface {
	// Look returns the description of what is kept at an address, nil if nothing is.
	Look(ctx context.Context, address string) (*Meta, error)
	// Pull fills the empty directory dir with what is kept at an address.
	Pull(ctx context.Context, address, dir string) error
	// Push keeps an entry, whose content is in dir, at an address.
	Push(ctx context.Context, address string, meta Meta, dir string) error
}

// Address is what an entry is known by elsewhere: it is tied to the very content of its
// base, so that nobody mixes layers that were not built on each other.
func Address(key, baseID string) string {
	sum := sha256.Sum256([]byte(key + " " + baseID))
	return hex.EncodeToString(sum[:])
}

// pull takes an entry from elsewhere, nil if that cannot be.
func (s *Store) pull(ctx context.Context, base Base, step Origin, key string) *Entry {
	if s.options.Remote == nil {
		return nil
	}
	at := Address(key, base.ID)
	meta, err := s.options.Remote.Look(ctx, at)
	if err == nil && meta == nil {
		return nil
	}
	var e *Entry
	if err == nil {
		step.Check = nil // it is about what is made here
		e, err = s.make(ctx, base, step, key, func(dir string) error { return s.options.Remote.Pull(ctx, at, dir) }, meta.ID)
	}
	if err != nil {
		s.options.Log.Warn("cannot take a layer from elsewhere: it is built", "step", step.Name, "cause", err)
		return nil
	}
	return e
}

// push gives an entry that was built here to the others.
func (s *Store) push(ctx context.Context, e *Entry) {
	if s.options.Remote == nil {
		return
	}
	if err := s.options.Remote.Push(ctx, Address(e.Key, e.BaseID), e.Meta, e.Data()); err != nil {
		s.options.Log.Warn("cannot give a layer to others", "step", e.Step, "cause", err)
	}
}
