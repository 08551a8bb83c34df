package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/printable"
	"imagebuilder/runtime"
)

// The options of a recipe, for people and for programs.

func newOptionsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "options RECIPE",
		Short: "List the options of a recipe",
		Args:  args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			recipe, err := (&recipeOptions{}).load(cmd, args[0], logOptions{})
			if err != nil {
				return err
			}
			if asJSON {
				return optionsJSON(cmd.OutOrStdout(), recipe.Options())
			}
			printOptions(cmd.OutOrStdout(), recipe.Options())
			return nil
		},
	}
	addOfflineFlag(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// printOptions prints a line for each option as one would write it, ready to be copied.
func printOptions(w io.Writer, options []runtime.Option) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, o := range options {
		help := o.Help
		if o.Values != nil {
			help = strings.TrimSpace(help + " (" + strings.Join(o.Values, ", ") + ")")
		}
		fmt.Fprintf(table, "  -o %s=%s\t%s\t%s\n", printable.Line(o.Name), printable.Line(o.DefaultText()), o.Type, printable.Line(help))
	}
	table.Flush()
}

func optionsJSON(w io.Writer, options []runtime.Option) error {
	type option struct {
		Name    string   `json:"name"`
		Type    string   `json:"type"`
		Default string   `json:"default"`
		Help    string   `json:"help,omitempty"`
		Values  []string `json:"values,omitempty"`
	}
	list := []option{}
	for _, o := range options {
		list = append(list, option{o.Name, o.Type, o.DefaultText(), o.Help, o.Values})
	}
	return printJSON(w, list)
}
