package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/lock"
	"imagebuilder/builtins/problems"
	"imagebuilder/builtins/signing"
	"imagebuilder/runtime"
)

// What all commands that build have in common: their flags, and how results are printed.
// The run itself is put together in package runtime.

// buildOptions are the flags of all commands that build.
type buildOptions struct {
	cache   cacheOptions
	log     logOptions
	explain bool
	offline bool
	staleOK bool
	json    bool
	shell   bool   // where a step fails
	trace   string // file
	signKey string // file
	voucher runtime.Voucher
	store   layer.Options
	sources *build.Sources
	lock    *lock.Session // nil: there is none
	share   shareOptions
	report  func(runtime.Run) // is told what the run did; nil: nobody is

	documents bool // beside images
}

func (o *buildOptions) addFlags(cmd *cobra.Command) {
	o.addStepFlags(cmd)
	cmd.Flags().StringVar(&o.trace, "trace", "", "write where the time went to `file`, in the format of chrome://tracing")
	cmd.Flags().StringVar(&o.signKey, "sign-key", "", "write beside the images where they come from, signed with the private key in `file`")
	o.share.addFlags(cmd)
	cmd.Flags().BoolVar(&o.json, "json", false, "print the results as JSON, with their sizes and digests")
}

// addStepFlags adds those about steps, for commands without results.
func (o *buildOptions) addStepFlags(cmd *cobra.Command) {
	o.cache.addFlags(cmd)
	behindDoor(cmd)
	o.log.addFlags(cmd)
	cmd.Flags().BoolVar(&o.explain, "explain", false, "say for each step that is done why it was not in the cache")
	cmd.Flags().BoolVar(&o.store.NoCache, "no-cache", false, "do every step anew")
	cmd.Flags().BoolVar(&o.store.Refresh, "refresh", false, "do every step anew that reads the network, and what follows it")
	cmd.Flags().BoolVar(&o.offline, "offline", false, "ask nothing of the network: what is in the cache is used as it is")
	cmd.Flags().BoolVar(&o.staleOK, "stale-ok", false, "where a server cannot be reached, go on with what it last said, if that is in the cache")
	cmd.Flags().BoolVar(&o.store.NoOverlay, "disable-overlay", false, "work on plain copies instead of overlayfs, without reuse")
}

// seconds is the duration of so many seconds, or the longest that there is.
func seconds(n uint) timeLimit {
	return timeLimit(min(n, math.MaxInt64/uint(time.Second))) * timeLimit(time.Second)
}

// run runs a recipe after all that can be known before is known to be right, and prints
// the paths of its results.
func (o *buildOptions) run(cmd *cobra.Command, recipe *runtime.Recipe, target string) error {
	results, err := o.make(cmd, recipe, target)
	if err != nil {
		return err
	}
	return printResults(cmd.OutOrStdout(), results, o.json)
}

// make is run but for what is printed of the results.
func (o *buildOptions) make(cmd *cobra.Command, recipe *runtime.Recipe, target string) ([]build.Result, error) {
	if err := recipe.Ready(target, o.lock); err != nil {
		return nil, err
	}
	if err := o.chooseVoucher(); err != nil {
		return nil, err
	}
	share, err := o.share.open(o.signKey)
	if err != nil {
		return nil, err
	}
	display := o.log.newDisplay(cmd.ErrOrStderr())
	defer display.Close()
	dir, err := o.cache.directory()
	if err != nil {
		return nil, err
	}
	o.store.MaxSize = o.cache.maxSize()
	var failed func(context.Context, *build.Room)
	if o.shell {
		failed = func(ctx context.Context, room *build.Room) {
			display.Close()
			enterFailed(ctx, cmd, room, display.log)
		}
	}
	var did runtime.Run
	results, err := recipe.Build(runtime.BuildOptions{
		Target:   target,
		Cache:    dir,
		Store:    o.store,
		Sources:  o.sources,
		Explain:  o.explain,
		StaleOK:  o.staleOK,
		Offline:  o.offline,
		Lock:     o.lock,
		Log:      display.log,
		Progress: display.progress,
		Share:    share,
		Voucher:  o.voucher,

		Documents: o.documents,
		Failed:    failed,
		Report:    func(run runtime.Run) { did = run },
	})
	if o.report != nil {
		o.report(did)
	}
	if o.trace != "" && did.Steps != nil {
		err = problems.Join(err, writeTrace(o.trace, did))
	}
	if err != nil {
		return nil, err
	}
	display.Close()
	if o.log.format == "json" {
		display.log.Info("finished", "took", did.Took, "steps", len(did.Steps), "results", append([]build.Result{}, results...))
	} else {
		printSummary(cmd.ErrOrStderr(), did)
	}
	return results, nil
}

// chooseVoucher settles who vouches for the images: by a key, without one, or nobody.
func (o *buildOptions) chooseVoucher() error {
	switch {
	case o.signKey != "":
		key, err := readKey(o.signKey, signing.ParsePrivateKey)
		if err != nil {
			return fmt.Errorf("cannot sign: %w", err)
		}
		o.voucher = vouched(&key)
	case o.documents && o.voucher == nil:
		o.voucher = vouched(nil)
	}
	return nil
}

// printResults prints a path on each line and nothing else: scripts read them. As JSON it
// prints a list.
func printResults(w io.Writer, results []build.Result, asJSON bool) error {
	if asJSON {
		return printJSON(w, append([]build.Result{}, results...)) // none are a list, too
	}
	for _, r := range results {
		fmt.Fprintln(w, r.Path)
	}
	return nil
}
