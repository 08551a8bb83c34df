package layer

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Layers by their keys, as people have them from lists.

// minPrefix is how much of a key must be given at least.
const minPrefix = 8

// IsKey tells whether a text may be a key, or the beginning of one that is long enough.
func IsKey(text string) bool {
	return len(text) >= minPrefix && len(text) <= 64 && strings.Trim(text, "0123456789abcdef") == ""
}

// Find returns the description of the entry whose key begins with a text.
func (s *Store) Find(prefix string) (Meta, error) {
	entries, err := s.root.ReadDir("entries")
	if err != nil {
		return Meta{}, err
	}
	var key string
	for _, name := range entries {
		switch {
		case !strings.HasPrefix(name, prefix):
		case key != "":
			return Meta{}, fmt.Errorf("several keys of the cache begin with %s: give more of it", prefix)
		default:
			key = name
		}
	}
	if key == "" {
		return Meta{}, fmt.Errorf("no key of the cache begins with %s; 'imagebuilder cache list' shows them", prefix)
	}
	return s.describe(key)
}

func (s *Store) describe(key string) (Meta, error) {
	place, err := s.place(key)
	if err != nil {
		return Meta{}, err
	}
	return s.readMeta(key, place)
}

// Layer returns the root file system whose last layer is an entry.
func (s *Store) Layer(meta Meta) (State, error) {
	if meta.ID == "" {
		return nil, fmt.Errorf("%.12s is no layer, but what %s has made", meta.Key, meta.Step)
	}
	c := &chain{store: s, base: Base{meta.Key, meta.ID}}
	for {
		e, err := s.find(meta.Key, meta.BaseID, Origin{layer: true})
		if err != nil {
			return nil, fmt.Errorf("cannot use the layer %.12s: %w", meta.Key, err)
		}
		s.keep(e)
		c.layers = append([]*Entry{e}, c.layers...)
		if meta.Base == "" || len(c.layers) > maxLayers {
			break
		}
		base := meta.Base
		meta, err = s.describe(base)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("what the layer lies on, %.12s, is not in the cache: it was removed, or is a directory of this machine", base)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(c.layers) > maxLayers {
		return nil, fmt.Errorf("more than %d layers lie on each other: enter the recipe that makes them", maxLayers)
	}
	return c, nil
}

// maxLayers is how many the kernel stacks.
const maxLayers = 500
