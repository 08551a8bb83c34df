package layer

import (
	"bufio"
	"encoding/json"
	"path"
	"strings"
)

// Why a step was done is found by comparing with the run before; nothing is decided by it.

// A History remembers what the steps of a recipe depended on when it last ran, to
// tell what has changed since.
type History struct {
	store  *Store
	file   string // below the store
	before []record
	now    []record
}

type record struct {
	Key    string  `json:"key"`
	Base   string  `json:"base"`
	Step   string  `json:"step"`
	Inputs []Input `json:"inputs"`
}

// History opens the history kept under a name, which is a digest or a plain word.
func (s *Store) History(name string) *History {
	h := &History{store: s, file: path.Join("history", name+".json")}
	if data, err := s.root.ReadFile(h.file, maxMeta); err == nil {
		// What cannot be read explains nothing, and is overwritten at the end.
		json.Unmarshal(data, &h.before)
	}
	return h
}

// Explain records a step and says which of its inputs differ from those of the most
// similar step of the run before.
func (h *History) Explain(base string, step Origin) string {
	now := record{Key: step.key(base), Base: base, Step: step.Name, Inputs: shortened(step.Inputs)}
	h.now = append(h.now, now)
	var best []string
	found := false
	for _, old := range h.before {
		if old.Step != now.Step {
			continue
		}
		if changed := old.changed(now); !found || len(changed) < len(best) {
			best, found = changed, true
		}
	}
	switch {
	case !found:
		return "a new step"
	case len(best) == 0:
		return "no longer in the cache"
	}
	return "changed: " + strings.Join(best, ", ")
}

func (r record) changed(now record) []string {
	var changed []string
	if r.Base != now.Base {
		changed = append(changed, "what is below")
	}
	old := make(map[string]string, len(r.Inputs))
	for _, in := range r.Inputs {
		old[in.Name] = in.Value
	}
	for _, in := range now.Inputs {
		if value, ok := old[in.Name]; !ok || value != in.Value {
			changed = append(changed, in.Name)
		}
		delete(old, in.Name)
	}
	for _, in := range r.Inputs {
		if _, ok := old[in.Name]; ok {
			changed = append(changed, in.Name)
		}
	}
	return changed
}

// Save keeps the record of this run for the next.
func (h *History) Save() error {
	data, err := json.Marshal(h.now)
	if err != nil {
		return err
	}
	return h.store.root.Replace(h.file, 0o600, func(w *bufio.Writer) error { _, err := w.Write(data); return err })
}
