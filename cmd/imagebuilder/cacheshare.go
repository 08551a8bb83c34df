package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/registry"
	"imagebuilder/runtime"
)

// A store that machines share, filled from the cache and taken into it by hand.

func newCachePushCommand() *cobra.Command {
	var o cacheOptions
	var signKey string
	cmd := &cobra.Command{
		Use:   "push REPOSITORY [RECIPE...]",
		Short: "Give what is in the cache to a store that machines share",
		Long: `Give the layers and results in the cache to a store that machines share, signed with a
key, as 'imagebuilder run --remote REPOSITORY --remote-push all' does with what it builds. With
recipes only what their last runs have used is given.`,
		Example: `  imagebuilder cache push registry.example:5000/team/layers --sign-key ci.key
  imagebuilder cache push registry.example:5000/team/layers debian --sign-key ci.key`,
		Args: args(1, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			remote := shareOptions{repository: args[0], push: string(registry.All)}
			return pushCache(cmd, o, remote, signKey, args[1:])
		},
	}
	o.addFlags(cmd)
	behindDoor(cmd)
	cmd.Flags().StringVar(&signKey, "sign-key", "", "sign what is given with the private key in `file`")
	return cmd
}

func pushCache(cmd *cobra.Command, o cacheOptions, remote shareOptions, signKey string, recipes []string) error {
	if signKey == "" {
		return usageError{errors.New("--sign-key is missing: nobody takes what is not signed")}
	}
	share, store, err := remote.openWith(cmd, o, signKey)
	if err != nil {
		return err
	}
	defer store.Close()
	list, err := ofRecipes(store, recipes)
	if err != nil {
		return err
	}
	for _, meta := range list {
		if err := store.Give(cmd.Context(), meta, build.Verify); err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: %.12s %s is not given: %v\n", meta.Key, meta.Step, err)
		}
	}
	_, given := share.Close()
	var names []string
	for _, r := range recipes {
		names = append(names, filepath.Base(r))
	}
	share.Leave(cmd.Context(), strings.Join(append([]string{"cache push"}, names...), " "), nil)
	fmt.Fprintf(cmd.OutOrStdout(), "given %d of %d layers and results\n", given, len(list))
	if given < len(list) {
		return fmt.Errorf("%s has not taken all", share)
	}
	return nil
}

// openWith opens the store of the command line and the cache, which asks it.
func (o *shareOptions) openWith(cmd *cobra.Command, cache cacheOptions, signKey string) (*registry.Share, *layer.Store, error) {
	share, err := o.open(signKey)
	if err != nil {
		return nil, nil, err
	}
	share.Log = (&logOptions{}).logger(cmd.ErrOrStderr())
	store, err := cache.open(layer.Options{Remote: share, Log: share.Log})
	return share, store, err
}

// ofRecipes are the entries of the cache that others may want, of recipes if there are any: their
// layers, and what was made of these.
func ofRecipes(store *layer.Store, recipes []string) ([]layer.Meta, error) {
	list, err := store.List()
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(m layer.Meta) bool { return !m.Shareable() })
	if len(recipes) == 0 {
		return list, nil
	}
	keys := make(map[string]bool)
	for _, recipe := range recipes {
		runs, err := runtime.Runs(store, recipe)
		if err != nil {
			return nil, err
		}
		if len(runs) == 0 {
			return nil, fmt.Errorf("the cache knows of no run of %s", recipe)
		}
		for _, step := range runs[0].Steps {
			keys[step.Key] = true
		}
	}
	return slices.DeleteFunc(list, func(m layer.Meta) bool { return !keys[m.Key] && !(m.ID == "" && m.Base != "" && keys[m.Base]) }), nil
}

func newCachePullCommand() *cobra.Command {
	var o cacheOptions
	var remote shareOptions
	cmd := &cobra.Command{
		Use:   "pull REPOSITORY [RECIPE...]",
		Short: "Take what a store has that machines share into the cache",
		Long: `Take the layers and results of a store that machines share into the cache, as far as one of
the keys in --remote-keys has signed them; what the cache has stays. With recipes, by the name
of their files, only what their last runs have used is taken. A layer is code that runs as root:
trust whose keys these are.`,
		Example: `  imagebuilder cache pull registry.example:5000/team/layers --remote-keys ci.pub
  imagebuilder cache pull registry.example:5000/team/layers debian --remote-keys ci.pub`,
		Args: args(1, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			if remote.keys == "" {
				return usageError{errors.New("--remote-keys is missing: a layer is code that runs as root, so say whose to take")}
			}
			remote.repository = args[0]
			return pullCache(cmd, o, remote, args[1:])
		},
	}
	o.addFlags(cmd)
	behindDoor(cmd)
	cmd.Flags().StringVar(&remote.keys, "remote-keys", "", "take what any of the public keys in `file` has signed")
	return cmd
}

func pullCache(cmd *cobra.Command, o cacheOptions, remote shareOptions, recipes []string) error {
	share, store, err := remote.openWith(cmd, o, "")
	if err != nil {
		return err
	}
	defer store.Close()
	names := make([]string, len(recipes))
	for i, r := range recipes {
		names[i] = filepath.Base(r)
	}
	addresses, err := share.Addresses(cmd.Context(), names)
	if err != nil {
		return fmt.Errorf("cannot pull from %s: %w", share, err)
	}
	taken, refused := 0, 0
	for _, address := range addresses {
		meta, new, err := store.Take(cmd.Context(), address)
		switch {
		case cmd.Context().Err() != nil:
			return cmd.Context().Err()
		case err != nil:
			refused++
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: %.12s %s is not taken: %v\n", address, meta.Step, err)
		case new:
			taken++
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "taken %d of %d layers and results\n", taken, len(addresses))
	if refused > 0 {
		return fmt.Errorf("%d layers and results of %s are not taken", refused, share)
	}
	return nil
}
