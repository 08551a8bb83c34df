package streams

import (
	"context"
	"log/slog"
	"time"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/inventory"

	"golang.org/x/sync/errgroup"
)

// The part of a build that makes deltas, product by product, when it is known which versions
// are listed. How one delta is made and believed is a matter of package inventory.

// makeDeltas sees to the deltas of a product, newest first.
func (j *job) makeDeltas(ctx context.Context) error {
	todo := j.undecided()
	if len(todo) == 0 {
		return nil
	}
	if err := j.xdelta.Available(ctx); err != nil {
		for _, w := range todo {
			w.Target.Pending = true
		}
		j.sum.DeltaFails += len(todo)
		j.noXdelta = &inventory.DeltaResult{Wish: todo[0], Err: err}
		return context.Cause(ctx)
	}
	results, err := j.fulfilAll(ctx, todo)
	if err != nil {
		return err
	}
	for _, r := range results {
		j.delta(r)
	}
	j.sums(results)
	return nil
}

// fulfilAll works on deltas side by side and then enters what became of them into
// their versions, also if the context has ended meanwhile.
func (j *job) fulfilAll(ctx context.Context, todo []inventory.Wish) ([]*inventory.DeltaResult, error) {
	results := make([]*inventory.DeltaResult, len(todo))
	var group errgroup.Group
	var err error
	for i := len(todo) - 1; i >= 0 && err == nil; i-- {
		err = j.do(ctx, &group, func() {
			results[i] = j.xdelta.Fulfil(ctx, todo[i], j.opts.Deltas.maxShare())
		})
	}
	group.Wait()
	for _, r := range results {
		if r != nil {
			r.Apply()
		}
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	return results, err
}

// undecided returns the deltas that should be there and that have to be looked at:
// those of which there is a file, and those that are to be made.
func (j *job) undecided() []inventory.Wish {
	var todo []inventory.Wish
	for _, v := range j.product.Versions {
		v.Pending = false
	}
	kept := j.retained(j.versions)
	for _, w := range inventory.Wishes(j.product, j.versions, j.opts.Deltas.Disks) {
		if j.withheld.Has(w.Target, w.To()) {
			continue
		}
		wanted := !j.opts.Deltas.Off && kept[w.Target] && kept[w.Base]
		if (wanted || w.File() != nil) && !w.Decided(j.opts.Deltas.maxShare()) {
			todo = append(todo, w)
		}
	}
	return todo
}

// retained returns the versions that a later prune will keep.
func (j *job) retained(versions []*inventory.FoundVersion) map[*inventory.FoundVersion]bool {
	last := len(versions) - 1
	kept := make(map[*inventory.FoundVersion]bool)
	born := func(i int) time.Time { return versions[last-i].Born() }
	for i, keep := range j.opts.Deltas.Retain.Keep(len(versions), j.clock(), born) {
		kept[versions[last-i]] = keep
	}
	return kept
}

// delta logs and counts what became of a delta.
func (j *job) delta(r *inventory.DeltaResult) {
	switch {
	case r.Err != nil:
		j.sum.DeltaFails++
		j.log(slog.LevelError, "Failed creating delta file", append(r.Attrs(), "error", r.Err)...)
	case !r.Kept:
		j.sum.Undelta++
		j.log(slog.LevelInfo, "Delta is not worth having", r.Attrs()...)
	case r.Made:
		j.sum.Deltas++
		j.log(slog.LevelInfo, "Delta generated successfully", r.Attrs()...)
	}
}

// sums enters deltas into the SHA256SUMS of their versions.
func (j *job) sums(results []*inventory.DeltaResult) {
	edits := make(map[*inventory.FoundVersion]map[string]digest.Digest)
	for _, r := range results {
		if r.Kept {
			if edits[r.Target] == nil {
				edits[r.Target] = make(map[string]digest.Digest)
			}
			edits[r.Target][r.Name] = r.File.Sum
		}
	}
	for _, v := range j.product.Versions {
		f := v.Find(inventory.SumsName)
		if edits[v] == nil || f == nil {
			continue
		}
		st, err := inventory.UpdateSums(j.files, j.place(v), edits[v])
		if err != nil {
			j.sum.Failed++
			j.log(slog.LevelError, "Failed to update checksums file",
				"product", j.product.Location.Product.ID(), "version", v.Name, "error", err)
			continue
		}
		f.Stamp, f.Settled = st, true // it says the same of all but the deltas
	}
}
