package layer

import (
	"encoding/json"
	"path"
	"strings"

	"imagebuilder/builtins/dirfd"
)

// Why a step was done is found by comparing with the run before; nothing is decided by it.

// A History remembers what the steps of a recipe depended on when it last ran, and what its
// questions were answered, to tell what has changed since. A nil one remembers nothing.
type History struct {
	store *Store
	file  string // below the store
	past  past
	now   past
	run   json.RawMessage // what this one says of itself; nil: nothing

	before  map[string][]record // the steps of the run before by name, in their order
	keys    map[string]bool     // of these
	count   map[string]int      // how many steps of a name this run has had
	answers map[string]answer   // of the runs before, by question
}

// A past is what is kept of a run, and of answers from those before it.
type past struct {
	Steps   []record          `json:"steps"`
	Answers map[string]answer `json:"answers,omitempty"`
	Runs    []json.RawMessage `json:"runs,omitempty"` // for people, the last one first
}

// keptRuns is of how many runs there is something to read.
const keptRuns = 20

// An answer is kept beyond the last run: one with other options has other questions.
type answer struct {
	Answer  json.RawMessage `json:"answer"`
	Unasked int             `json:"unasked,omitempty"` // runs since the last that has asked
}

// keptUnasked is for how many runs an answer is kept that none of them asks for.
const keptUnasked = 100

// similar is how far from its place in the run before a step is looked for. Without such
// a bound, long recipes would take time by the square of their length.
const similar = 32

type record struct {
	Key    string  `json:"key"`
	Base   string  `json:"base"`
	Step   string  `json:"step"`
	Inputs []Input `json:"inputs"`
}

// History opens the history kept under a name, which is a digest or a plain word.
func (s *Store) History(name string) *History {
	h := &History{
		store: s, file: path.Join("history", name+".json"),
		before: make(map[string][]record), keys: make(map[string]bool), count: make(map[string]int),
	}
	h.past = h.read()
	h.answers = h.past.Answers
	for _, old := range h.past.Steps {
		h.before[old.Step] = append(h.before[old.Step], old)
		h.keys[old.Key] = true
	}
	return h
}

// read returns what is kept. What cannot be read explains nothing, and is overwritten at the
// end.
func (h *History) read() (p past) {
	if data, err := h.store.root.ReadFile(h.file, maxMeta); err == nil {
		json.Unmarshal(data, &p)
	}
	return p
}

// Explain records a step and says which of its inputs differ from those of the most
// similar step near its place in the run before.
func (h *History) Explain(base string, step Origin) string {
	now := record{Key: step.key(base), Base: base, Step: step.Name, Inputs: shortened(step.Inputs)}
	h.now.Steps = append(h.now.Steps, now)
	at := h.count[now.Step]
	h.count[now.Step]++
	if h.keys[now.Key] {
		return "no longer in the cache"
	}
	old := h.before[now.Step]
	if len(old) == 0 {
		return "a new step"
	}
	near := old[min(max(at-similar, 0), len(old)-1):min(at+similar+1, len(old))]
	best := near[0].changed(now)
	for _, r := range near[1:] {
		if changed := r.changed(now); len(changed) < len(best) {
			best = changed
		}
	}
	if len(best) == 0 {
		return "no longer in the cache"
	}
	return "changed: " + strings.Join(best, ", ")
}

// Inputs are the names of all inputs that the steps of the run before had.
func (h *History) Inputs() []string {
	if h == nil {
		return nil
	}
	var names []string
	for _, steps := range h.before {
		for _, step := range steps {
			for _, in := range step.Inputs {
				names = append(names, in.Name)
			}
		}
	}
	return names
}

// Answer records the answer to a question.
func (h *History) Answer(question string, found json.RawMessage) {
	if h != nil {
		h.keep(question, answer{Answer: found})
	}
}

func (h *History) keep(question string, a answer) {
	if h.now.Answers == nil {
		h.now.Answers = make(map[string]answer)
	}
	h.now.Answers[question] = a
}

// Answered returns what a question was answered when a run before this one asked it last;
// nil: none has.
func (h *History) Answered(question string) json.RawMessage {
	if h == nil {
		return nil
	}
	return h.answers[question].Answer
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

// Runs are what runs have said of themselves for people, the last one first.
func (h *History) Runs() []json.RawMessage { return h.past.Runs }

// Report keeps what a run says of itself for people to read: it is saved with the rest.
func (h *History) Report(run any) (err error) {
	h.run, err = json.Marshal(run)
	return err
}

// SaveReport keeps only that of this run: it has not come to its end.
func (h *History) SaveReport() error {
	return h.edit(func(*past) {})
}

// Save keeps the record of this run for the next.
func (h *History) Save() error {
	return h.edit(func(p *past) {
		for question, old := range p.Answers {
			if _, asked := h.now.Answers[question]; !asked && old.Unasked < keptUnasked {
				h.keep(question, answer{old.Answer, old.Unasked + 1})
			}
		}
		p.Steps, p.Answers = h.now.Steps, h.now.Answers
	})
}

// edit changes what is kept, and adds what this run says of itself. Another run may have
// ended since this one began.
func (h *History) edit(change func(*past)) error {
	return h.store.edit(path.Base(h.file), func() error {
		p := h.read()
		change(&p)
		if h.run != nil {
			p.Runs = append([]json.RawMessage{h.run}, p.Runs[:min(len(p.Runs), keptRuns-1)]...)
		}
		data, err := json.Marshal(p)
		if err != nil {
			return err
		}
		return h.store.root.Replace(h.file, 0o600, dirfd.Bytes(data))
	})
}
