package main

import (
	"github.com/spf13/cobra"

	"imagebuilder/builtins/host"
	"imagebuilder/compat"
	"imagebuilder/runtime"
)

// What all commands that load a recipe have in common. Whether a name means a recipe or a
// definition is not their business.

// recipeOptions are the flags of all commands that load a recipe.
type recipeOptions struct {
	set []string
}

func (o *recipeOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&o.set, "option", "o", nil, "set an option of the recipe, as `name=value`; may be repeated")
	cmd.ValidArgsFunction = completeRecipe
	if err := cmd.RegisterFlagCompletionFunc("option", completeOption); err != nil {
		panic("internal error: " + err.Error())
	}
}

// load loads a recipe, or a definition as one, with the options that the command line
// sets.
func (o *recipeOptions) load(cmd *cobra.Command, name string, log logOptions) (*runtime.Recipe, error) {
	config, err := runtimeConfig(cmd, log)
	if err != nil {
		return nil, err
	}
	return compat.Open(cmd.Context(), name, o.set, config)
}

// runtimeConfig is how recipes are evaluated: the clock is read here, once for all that
// becomes of one.
func runtimeConfig(cmd *cobra.Command, log logOptions) (runtime.Config, error) {
	clock, err := host.NewClock(host.Epoch())
	if err != nil {
		return runtime.Config{}, err
	}
	return runtime.Config{
		Now:     clock(),
		Machine: host.Machine(),
		Stdin:   cmd.InOrStdin(),
		Log:     log.logger(cmd.ErrOrStderr()),
	}, nil
}
