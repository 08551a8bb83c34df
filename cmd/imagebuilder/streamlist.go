package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/streams"
)

func newStreamListCommand() *cobra.Command {
	var tree treeOptions
	var format string
	formats := strings.Join(streams.ListFormats(), ", ")
	cmd := &cobra.Command{
		Use:   "list ROOT",
		Short: "List the images that clients see",
		Args:  args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer bound(cmd, tree.timeout)()
			if !slices.Contains(streams.ListFormats(), format) {
				return usageError{fmt.Errorf("--format %s: want one of %s", format, formats)}
			}
			t, err := tree.tree(cmd, args[0])
			if err != nil {
				return err
			}
			images, err := streams.List(cmd.Context(), streams.ListOptions{Site: t})
			if err != nil {
				return err
			}
			return streams.WriteImages(cmd.OutOrStdout(), format, images)
		},
	}
	tree.addFlags(cmd, "all that the index lists")
	cmd.Flags().StringVarP(&format, "format", "f", "table", "`form` of the list: "+formats)
	cmd.Flags().BoolVar(&tree.natural, "natural-order", false, "order versions by the numbers in their names")
	return cmd
}
