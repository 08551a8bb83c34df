package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"imagebuilder/builtins"
	"imagebuilder/builtins/printable"
	"imagebuilder/recipes"
)

// The recipes that come with the tool, to be read, copied and changed.

func newRecipesCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "recipes [NAME]",
		Short: "List the recipes that come with the tool, or print one",
		Args:  args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				text, err := recipes.FS.ReadFile(args[0] + ".star")
				if err != nil {
					hint := "'imagebuilder recipes' lists them"
					if near := builtins.Nearest(args[0], recipes.Names()); near != "" {
						hint = "did you mean " + near + "?"
					}
					return usageError{fmt.Errorf("there is no recipe %q; %s", args[0], hint)}
				}
				_, err = cmd.OutOrStdout().Write(text)
				return err
			}
			return listRecipes(cmd, asJSON)
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func listRecipes(cmd *cobra.Command, asJSON bool) error {
	type listed struct {
		Name string `json:"name"`
		Doc  string `json:"doc"`
	}
	var list []listed
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	for _, name := range recipes.Names() {
		r, err := (&recipeOptions{}).load(cmd, name, logOptions{})
		if err != nil {
			return err
		}
		doc, _, _ := strings.Cut(r.Doc, "\n")
		list = append(list, listed{name, doc})
		fmt.Fprintf(table, "%s\t%s\n", name, printable.Line(doc))
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), list)
	}
	return table.Flush()
}
