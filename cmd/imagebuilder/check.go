package main

import "github.com/spf13/cobra"

func newCheckCommand() *cobra.Command {
	var recipe recipeOptions
	cmd := &cobra.Command{
		Use:   "check RECIPE...",
		Short: "Check recipes without running them",
		Long: `Load recipes and go through their main functions without any effect. Whatever can be
wrong with a recipe before it runs is reported; nothing is printed if all is well.`,
		Args: args(1, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				r, err := recipe.load(cmd, name, logOptions{})
				if err != nil {
					return err
				}
				if _, err := r.Check(); err != nil {
					return err
				}
			}
			return nil
		},
	}
	recipe.addFlags(cmd)
	return cmd
}
