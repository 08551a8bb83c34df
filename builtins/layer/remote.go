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
	// Push keeps an entry, whose content is in dir, at an address. The directory stays as it is
	// until the store that it is of is closed.
	Push(ctx context.Context, address string, meta Meta, dir string) error
	// Used notes that a build uses what would be at an address, and has it.
	Used(address string)
}

// Address is what an entry is known by elsewhere: it is tied to the very content of its
// base, so that nobody mixes layers that were not built on each other.
func Address(key, baseID string) string {
	sum := sha256.Sum256([]byte(key + " " + baseID))
	return hex.EncodeToString(sum[:])
}

// address is where an entry of a key is elsewhere.
func (m Meta) address() string { return Address(m.Key, m.BaseID) }

// pull takes an entry from elsewhere, nil if that cannot be.
func (s *Store) pull(ctx context.Context, base Base, step Origin, key string) *Entry {
	if s.options.Remote == nil {
		return nil
	}
	at := Address(key, base.ID)
	meta, err := s.options.Remote.Look(ctx, at)
	if err == nil && (meta == nil || !s.fresh(*meta, step)) {
		return nil
	}
	var e *Entry
	if err == nil {
		step.Check = nil // it is about what is made here
		e, err = s.make(ctx, base, step, key, func(dir string) error { return s.options.Remote.Pull(ctx, at, dir) }, meta)
	}
	if err != nil {
		s.options.Log.Warn("cannot take a layer from elsewhere: it is built", "step", step.Name, "cause", err)
		return nil
	}
	return e
}

// fresh tells whether an entry is good for a step at this time. What was made later than now, by
// the clock of another machine, is not.
func (s *Store) fresh(meta Meta, step Origin) bool {
	age := s.options.Clock().Sub(meta.Created)
	return step.MaxAge <= 0 || 0 <= age && age <= step.MaxAge
}

// used notes that an entry was found here.
func (s *Store) used(e *Entry) {
	if s.options.Remote != nil {
		s.options.Remote.Used(e.address())
	}
}

// push gives an entry that was built here to the others.
func (s *Store) push(ctx context.Context, e *Entry) {
	if s.options.Remote == nil {
		return
	}
	if err := s.options.Remote.Push(ctx, e.address(), e.Meta, e.Data()); err != nil {
		s.options.Log.Warn("cannot give a layer to others", "step", e.Step, "cause", err)
	}
}

// Shareable tells whether an entry is one that builds look for elsewhere.
func (m Meta) Shareable() bool {
	return m.leftover == "" && m.Step != "" && m.Step != "download"
}

// Give gives an entry to the others by hand, if check finds nothing wrong with what it holds.
func (s *Store) Give(ctx context.Context, meta Meta, check func(data string) error) error {
	e := s.holding(meta, ".")
	if e == nil {
		return errGone
	}
	s.keep(e)
	if meta.ID == "" { // layers are known by their content, which is read when they are given
		if err := check(e.Data()); err != nil {
			return err
		}
	}
	return s.options.Remote.Push(ctx, meta.address(), meta, e.Data())
}

// Take takes what there is at an address elsewhere, unless it is here; taken tells whether it was
// not, and was there.
func (s *Store) Take(ctx context.Context, address string) (meta Meta, taken bool, err error) {
	said, err := s.options.Remote.Look(ctx, address)
	if err != nil || said == nil {
		return Meta{}, false, err
	}
	lock, err := s.lockKey(ctx, said.Key)
	if err != nil {
		return *said, false, err
	}
	defer s.unlockKey(lock)
	if _, err := s.describe(said.Key); err == nil {
		return *said, false, nil
	}
	step := Origin{Name: said.Step, Inputs: said.Inputs, Network: said.Network, Summary: said.Summary, layer: said.ID != ""}
	e, err := s.make(ctx, Base{said.Base, said.BaseID}, step, said.Key, func(dir string) error {
		return s.options.Remote.Pull(ctx, address, dir)
	}, said)
	if err == nil {
		s.keep(e)
	}
	return *said, err == nil, err
}
