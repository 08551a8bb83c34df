package streams

import (
	"context"
	"log/slog"
	"time"

	"imagebuilder/builtins/digest"

	"golang.org/x/sync/errgroup"
)

// makeDeltas sees to the deltas of a product, newest first.
func (j *job) makeDeltas(ctx context.Context) error {
	todo := j.undecided()
	if len(todo) == 0 {
		return nil
	}
	if err := j.xdelta.available(ctx); err != nil {
		for _, w := range todo {
			w.target.pending = true
		}
		j.sum.DeltaFails += len(todo)
		j.noXdelta = &deltaResult{wish: todo[0], err: err}
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
func (j *job) fulfilAll(ctx context.Context, todo []wish) ([]*deltaResult, error) {
	results := make([]*deltaResult, len(todo))
	var group errgroup.Group
	var err error
	for i := len(todo) - 1; i >= 0 && err == nil; i-- {
		err = j.do(ctx, &group, func() {
			results[i] = j.xdelta.fulfil(ctx, todo[i], j.opts.Deltas.maxShare())
		})
	}
	group.Wait()
	for _, r := range results {
		if r != nil {
			r.apply()
		}
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	return results, err
}

// undecided returns the deltas that should be there and that have to be looked at:
// those of which there is a file, and those that are to be made.
func (j *job) undecided() []wish {
	var todo []wish
	for _, v := range j.product.versions {
		v.pending = false
	}
	kept := j.retained(j.versions)
	for _, w := range wishes(j.product, j.versions, j.opts.Deltas.Disks) {
		if j.withheld.has(w.target, w.to()) {
			continue
		}
		wanted := !j.opts.Deltas.Off && kept[w.target] && kept[w.base]
		if (wanted || w.file() != nil) && !w.decided(j.opts.Deltas.maxShare()) {
			todo = append(todo, w)
		}
	}
	return todo
}

// retained returns the versions that a later prune will keep.
func (j *job) retained(versions []*version) map[*version]bool {
	last := len(versions) - 1
	kept := make(map[*version]bool)
	born := func(i int) time.Time { return versions[last-i].born() }
	for i, keep := range j.opts.Deltas.Retain.keep(len(versions), j.clock(), born) {
		kept[versions[last-i]] = keep
	}
	return kept
}

// delta logs and counts what became of a delta.
func (j *job) delta(r *deltaResult) {
	switch {
	case r.err != nil:
		j.sum.DeltaFails++
		j.log(slog.LevelError, "Failed creating delta file", append(r.attrs(), "error", r.err)...)
	case !r.kept:
		j.sum.Undelta++
		j.log(slog.LevelInfo, "Delta is not worth having", r.attrs()...)
	case r.made:
		j.sum.Deltas++
		j.log(slog.LevelInfo, "Delta generated successfully", r.attrs()...)
	}
}

func (r *deltaResult) attrs() []any {
	return []any{"product", r.place.Product.ID(), "version", r.target.name, "item", r.name, "deltaBase", r.base.name}
}

// sums enters deltas into the SHA256SUMS of their versions.
func (j *job) sums(results []*deltaResult) {
	edits := make(map[*version]map[string]digest.Digest)
	for _, r := range results {
		if r.kept {
			if edits[r.target] == nil {
				edits[r.target] = make(map[string]digest.Digest)
			}
			edits[r.target][r.name] = r.file.sum
		}
	}
	for _, v := range j.product.versions {
		f := v.find(sumsName)
		if edits[v] == nil || f == nil {
			continue
		}
		st, err := updateSums(j.files, j.place(v), edits[v])
		if err != nil {
			j.sum.Failed++
			j.log(slog.LevelError, "Failed to update checksums file",
				"product", j.product.place.Product.ID(), "version", v.name, "error", err)
			continue
		}
		f.stamp, f.settled = st, true // it says the same of all but the deltas
	}
}
