package main

import (
	"github.com/spf13/cobra"

	"imagebuilder/builtins/problems"
	"imagebuilder/compat"
)

// The command that finds faults without doing anything, for editors and CI.

func newCheckCommand() *cobra.Command {
	var recipe recipeOptions
	cmd := &cobra.Command{
		Use:   "check RECIPE...",
		Short: "Check recipes without running them",
		Long: `Load recipes and go through their main functions without any effect. Whatever can be
wrong with a recipe before it runs is reported, also with each value that an option may
have besides, and what it names that is not on this machine; nothing is printed if all is
well. Of the YAML definition of a recipe all entries are checked, whatever they are for.`,
		Args: args(1, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ofAll(cmd, args, func(name string) error { return recipe.check(cmd, name) })
		},
	}
	recipe.addFlags(cmd)
	addOfflineFlag(cmd)
	cmd.ValidArgsFunction = completeRecipes
	return cmd
}

// ofAll returns what is wrong with any of several files.
func ofAll(cmd *cobra.Command, names []string, check func(name string) error) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, check(name))
		if cmd.Context().Err() != nil {
			break
		}
	}
	return problems.Join(errs...)
}

// check checks one recipe with a clock and a configuration of its own, so that what is wrong
// with one says nothing of the next.
func (o *recipeOptions) check(cmd *cobra.Command, name string) error {
	config, err := runtimeConfig(cmd, logOptions{})
	if err == nil {
		config.Secrets, err = o.givenSecrets()
	}
	if err != nil {
		return err
	}
	return compat.Check(cmd.Context(), name, o.set, config)
}
