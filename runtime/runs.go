package runtime

import (
	"encoding/json"
	"path/filepath"
	"time"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/layer"
)

// What runs of a recipe have done, kept in the cache for people to ask.

// A Run is what one run did.
type Run struct {
	Started time.Time      `json:"started"`
	Took    float64        `json:"took"` // seconds
	Options []string       `json:"options,omitempty"`
	Error   string         `json:"error,omitempty"` // "": it came to its end
	Steps   []build.Done   `json:"steps"`
	Results []build.Result `json:"results,omitempty"`

	Taken int `json:"taken,omitempty"` // how many steps came from a shared store
	Given int `json:"given,omitempty"` // how many results were given to it
}

// Runs returns what is kept of the runs of a recipe, by the name it is run by, the last one
// first.
func Runs(store *layer.Store, recipe string) ([]Run, error) {
	var runs []Run
	for _, text := range store.History(historyOf(recipe)).Runs() {
		var one Run
		if err := json.Unmarshal(text, &one); err != nil {
			return nil, err
		}
		runs = append(runs, one)
	}
	return runs, nil
}

// given is what -o has set.
func (r *Recipe) given() []string { return append(r.options.given.List(), r.keys...) }

// leave says in the shared store what the run has used of it.
func (r *Recipe) leave(o BuildOptions) {
	if o.Lock != nil {
		for _, sum := range o.Lock.Sums() {
			o.Share.Keep(r.loader.ctx, sum, "", false) // what was cached has not asked for it
		}
	}
	o.Share.Leave(r.loader.ctx, filepath.Base(r.Name), r.given())
}

// report tells what a run did, and keeps it.
func (r *Recipe) report(o BuildOptions, b *build.Builder, start time.Time, failed error) error {
	run := Run{Started: start, Took: time.Since(start).Seconds(), Options: r.given(), Steps: b.Done, Results: b.Results}
	if o.Share != nil {
		run.Taken, run.Given = o.Share.Close()
		if failed == nil {
			r.leave(o)
		}
	}
	if failed != nil {
		run.Error = failed.Error()
	}
	if o.Report != nil {
		o.Report(run)
	}
	if err := b.History.Report(run); err != nil {
		return err
	}
	if failed != nil {
		return b.History.SaveReport()
	}
	return b.History.Save()
}
