package registry

import (
	"context"
	"slices"
	"strings"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/signing"
)

// Layers of a shared store, built again and compared: where a build has the same bytes anywhere,
// one that is another was not made by the step that it is said to be of.

// A Rebuilt is a layer that was built again.
type Rebuilt struct {
	Said   layer.Meta // what the store says of it
	By     string     // the machine that has given it, as that says
	Signer string     // id of the key that has signed it
	Same   bool
}

// Layers are the addresses of the layers that were found in this run, with their keys in the
// cache.
func (s *Share) Layers() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make(map[string]string)
	for address, o := range s.found {
		if o.Entry.ID != "" {
			keys[address] = o.Entry.Key
		}
	}
	return keys
}

// Rebuilt are the layers that were built again in this run.
func (s *Share) Rebuilt() []Rebuilt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(slices.Values(s.rebuilt), func(a, b Rebuilt) int { return strings.Compare(a.Said.Key, b.Said.Key) })
}

// compare notes what came of a layer that was built again.
func (s *Share) compare(ctx context.Context, address string, made layer.Meta) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.found[address]; ok {
		s.rebuilt = append(s.rebuilt, Rebuilt{o.Entry, o.By, s.signer(ctx, o), made.ID == o.Entry.ID})
	}
}

// signer is the id of the key that has signed an offer.
func (s *Share) signer(ctx context.Context, o offer) string {
	for _, k := range s.Keys {
		if _, err := signing.Open(ctx, descriptionType, o.envelope, k); err == nil {
			return k.ID()
		}
	}
	return ""
}
