package main

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/registry"
	"imagebuilder/runtime/matrix"
)

// What becomes of a run, for machines that have nothing but a shared store in common.

// lastWord bounds how long a run that is to end takes to say so in a shared store.
const lastWord = 3 * time.Second

// A teller says in a shared store what becomes of a run; the zero value says nothing.
type teller struct {
	share   *registry.Share // nil: there is none
	ctx     context.Context
	recipe  string
	options []string
	target  string
}

// tellsOthers opens the shared store of the run.
func (o *runOptions) tellsOthers(cmd *cobra.Command, recipe, target string) (teller, error) {
	share, err := o.build.share.open(o.build.signKey)
	if err != nil || share == nil {
		return teller{}, err
	}
	o.build.share.opened = share
	share.Log = o.build.log.logger(cmd.ErrOrStderr())
	return teller{share, cmd.Context(), recipe, slices.Clone(o.recipe.set), target}, nil
}

func (t teller) begins(r matrix.Result) {
	if t.share == nil {
		return
	}
	if said, err := r.Report(t.recipe, t.options, t.target); err == nil { // it has no files
		t.share.Begins(t.ctx, said)
	}
}

// ends gives what the run has made as well. One that is to end says only that it has.
func (t teller) ends(r matrix.Result) {
	if t.share == nil {
		return
	}
	ctx := t.ctx
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastWord)
		defer cancel()
	}
	said, err := r.Report(t.recipe, t.options, t.target)
	if err != nil {
		t.share.Log.Warn("what became of the run is not given to the shared store", "cause", err)
		return
	}
	t.share.Ends(ctx, said, t.target)
}
