package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/options"
	"imagebuilder/streams"
	"imagebuilder/streams/words"
)

func newStreamListCommand() *cobra.Command {
	var o siteOptions
	var format string
	var asJSON bool
	list := words.ForList(options.AsFlag)
	formats := strings.Join(streams.ListFormats(), ", ")
	cmd := &cobra.Command{
		Use:   "list ROOT",
		Short: "List the images that clients see",
		Long: `List the images in the catalogs, and which clients see each. Both pass over versions whose
names do not start with a date and architectures that they do not know, without a word:
of such images the list says why. What other tools have listed is shown as well.`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer bound(cmd, o.timeout)()
			if asJSON {
				format = "json"
			}
			if !slices.Contains(streams.ListFormats(), format) {
				return usageError{fmt.Errorf("--format %s: want one of %s", format, formats)}
			}
			if err := checkSettings(cmd, list); err != nil {
				return err
			}
			site, err := o.site(cmd, args[0])
			if err != nil {
				return err
			}
			images, err := streams.List(cmd.Context(), list.Options(site))
			if err != nil {
				return err
			}
			return streams.WriteImages(cmd.OutOrStdout(), format, images)
		},
	}
	o.addFlags(cmd)
	addSettings(cmd, list)
	cmd.Flags().StringVarP(&format, "format", "f", "table", "`form` of the list: "+formats)
	addJSONFlag(cmd, &asJSON)
	return cmd
}
