package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// The version has a file of its own so that a release changes nothing else.

// version is the version of the tool.
const version = "0.1.0"

func newVersionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]string{"version": version})
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "imagebuilder", version)
			return err
		},
	}
	addJSONFlag(cmd, &asJSON)
	return cmd
}
