package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/printable"
	"imagebuilder/runtime"
)

// The command that finds what is likely to be a mistake. What is one is for check.

func newLintCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "lint FILE|DIR...",
		Short: "Find likely mistakes in files of Starlark",
		Long: `Find what is likely to be a mistake in files, and in all files *.star below directories,
without loading them: each with its place, the name of the warning and what to do. It fails
if there is any. The comment

  # buildifier: disable=NAME

at the end of a line or before a statement turns a warning off there. Warnings are
` + strings.Join(slices.Sorted(maps.Keys(runtime.Warnings)), ", ") + ".",
		Example: `  imagebuilder lint my.star lib
  imagebuilder lint --json .`,
		Args: args(1, 100000),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := starFiles(args, ".star")
			if err != nil {
				return err
			}
			found := []runtime.Finding{}
			for _, name := range files {
				text, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				more, err := runtime.Lint(cmd.Context(), name, string(text))
				if err != nil {
					return err
				}
				found = append(found, more...)
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetEscapeHTML(false)
				enc.SetIndent("", "  ")
				err = enc.Encode(found)
			} else {
				for _, f := range found {
					fmt.Fprintln(cmd.OutOrStdout(), printable.Line(fmt.Sprintf("%s:%d:%d: %s: %s; %s", f.File, f.Line, f.Col, f.Name, f.Text, f.Fix)))
				}
			}
			if err == nil && len(found) > 0 {
				err = fmt.Errorf("%d warnings in %d files", len(found), len(files))
			}
			return err
		},
		ValidArgsFunction: completeStar,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
