package main

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/printable"
	"imagebuilder/builtins/problems"
	"imagebuilder/builtins/registry"
)

// Layers of a store that machines share, built again: bit-identity is what makes one that lies
// findable.

type remoteVerifyOptions struct {
	run     runOptions
	rebuild int
	share   shareOptions
}

func newRemoteVerifyCommand() *cobra.Command {
	var o remoteVerifyOptions
	cmd := &cobra.Command{
		Use:   "verify REPOSITORY RECIPE",
		Short: "Build some layers of a shared store again, and compare",
		Long: `Run a recipe with the layers of a store that machines share, build some of them again, chosen
at random, and compare. A layer that is another names who has signed it: its key, and the machine
as that says. Only what has the same bytes anywhere can be compared: a recipe with its lock
(--locked), or with SOURCE_DATE_EPOCH. The exit status is 1 if one is another.

All is done in a cache of its own beside the usual one, which goes at the end; what a program has
said that fails stays in the usual one.`,
		Example: `  imagebuilder remote verify registry.example:5000/team/layers debian --locked --rebuild 3 --remote-keys ci.pub`,
		Args:    args(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.verify(cmd, args[0], args[1])
		},
	}
	o.run.recipe.addFlags(cmd)
	o.run.recipe.addToolFlag(cmd)
	o.run.build.addStepFlags(cmd)
	o.run.locked.addFlags(cmd)
	cmd.Flags().IntVar(&o.rebuild, "rebuild", 1, "how many layers are built again")
	cmd.Flags().StringVar(&o.share.keys, "remote-keys", "", "compare what any of the public keys in `file` has signed")
	return cmd
}

func (o *remoteVerifyOptions) verify(cmd *cobra.Command, repository, recipe string) (err error) {
	if o.rebuild < 1 {
		return usageError{errors.New("--rebuild: want how many layers are built again, at least 1")}
	}
	if o.share.keys == "" {
		return usageError{errors.New("--remote-keys is missing: whose layers are to be verified?")}
	}
	o.share.repository = repository
	if err := o.run.locked.open(recipe, &o.run.recipe, &o.run.build); err != nil {
		return err
	}
	usual, err := o.run.build.cache.directory()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(usual), 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(usual), ".imagebuilder-verify-")
	if err != nil {
		return err
	}
	o.run.build.cache.dir = filepath.Join(dir, "cache")
	defer func() { err = problems.Join(err, o.keepLog(usual, err), o.clean(dir)) }()

	share, err := o.build(cmd, recipe, filepath.Join(dir, "results"), nil)
	if err != nil {
		return err
	}
	keys := share.Layers()
	chosen := slices.Sorted(maps.Keys(keys))
	rand.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	chosen = chosen[:min(len(chosen), o.rebuild)]
	if len(chosen) == 0 {
		return fmt.Errorf("%s has no layer of this recipe that can be compared", share)
	}
	if err := o.drop(chosen, keys); err != nil {
		return err
	}
	if share, err = o.build(cmd, recipe, filepath.Join(dir, "again"), chosen); err != nil {
		return err
	}
	return printRebuilt(cmd, share, len(chosen))
}

// build runs the recipe, and builds the layers at some addresses anew.
func (o *remoteVerifyOptions) build(cmd *cobra.Command, recipe, target string, anew []string) (*registry.Share, error) {
	share, err := o.share.open("")
	if err != nil {
		return nil, err
	}
	share.Anew = make(map[string]bool)
	for _, address := range anew {
		share.Anew[address] = true
	}
	r, err := o.run.recipe.load(cmd, recipe, o.run.build.log)
	if err != nil {
		return nil, err
	}
	if r.Epoch() == "" {
		return nil, usageError{errors.New("without --locked or SOURCE_DATE_EPOCH no layer comes out the same: there is nothing to compare")}
	}
	build := o.run.build
	build.share.opened = share
	_, err = build.make(cmd, r, target)
	return share, err
}

// drop removes layers from the cache.
func (o *remoteVerifyOptions) drop(addresses []string, keys map[string]string) error {
	store, err := o.run.build.cache.open(layer.Options{})
	if err != nil {
		return err
	}
	var list []string
	for _, address := range addresses {
		list = append(list, keys[address])
	}
	_, err = store.Remove(list)
	return problems.Join(err, store.Close())
}

// keepLog moves what a program has said whose failure is the error, where nobody removes it: to the
// usual cache.
func (o *remoteVerifyOptions) keepLog(usual string, failed error) (err error) {
	var exit *host.ExitError
	if !errors.As(failed, &exit) || exit.Log == "" {
		return nil
	}
	store, err := (&cacheOptions{usual, o.run.build.cache.max}).open(layer.Options{})
	if err != nil {
		return err
	}
	defer func() { err = problems.Join(err, store.Close()) }()
	said, err := os.ReadFile(exit.Log)
	if err != nil {
		return err
	}
	to := filepath.Join(store.Logs(), filepath.Base(exit.Log))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(to, said, 0o644); err != nil {
		return err
	}
	exit.Log = to
	return nil
}

// clean removes the cache of the command, which may be one of subordinate ids.
func (o *remoteVerifyOptions) clean(dir string) error {
	var failed error
	if store, err := o.run.build.cache.open(layer.Options{}); err == nil {
		_, failed = store.Collect(0)
		failed = problems.Join(failed, store.Close())
	}
	return problems.Join(failed, os.RemoveAll(dir))
}

// printRebuilt prints a line for each layer that was built again.
func printRebuilt(cmd *cobra.Command, share *registry.Share, chosen int) error {
	list, others := share.Rebuilt(), 0
	for _, r := range list {
		what := "the same"
		if !r.Same {
			what = "another"
			others++
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%-8s  %.12s  %s  signed by %s, built by %s on %s\n", what, r.Said.Key, printable.Line(r.Said.Step), r.Signer,
			printable.Line(r.By), r.Said.Created.UTC().Format(time.DateOnly))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%d of %d layers were built again, %d are others\n", len(list), chosen, others)
	switch {
	case others > 0:
		return fmt.Errorf("%d layers of %s are not what their steps make here: trust the keys above no more, or find out what differs", others, share)
	case len(list) < chosen:
		return fmt.Errorf("%d layers could not be compared", chosen-len(list))
	}
	return nil
}
