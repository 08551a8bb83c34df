package main

import (
	"github.com/spf13/cobra"

	"imagebuilder/builtins/options"
	"imagebuilder/streams"
	"imagebuilder/streams/words"
)

func newStreamPruneCommand() *cobra.Command {
	var o siteOptions
	prune := words.ForPrune(options.AsFlag)
	cmd := &cobra.Command{
		Use:   "prune ROOT",
		Short: "Take old versions out of the catalogs and remove their files",
		Long: `Take old versions, and those whose files have vanished, out of the catalogs. Their files
are removed by a prune that runs after the grace period: clients go by an old catalog
for an hour. So run it regularly. Nothing outside the directories of the streams is
ever removed.`,
		Example: `  imagebuilder stream prune /srv/images --retain-builds 3 --dry-run
  imagebuilder stream prune /srv/images --retain-builds 3 --retain-days 30 --dangling
  imagebuilder stream prune /srv/images --remove 0123456789ab --grace 0`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer bound(cmd, o.timeout)()
			if err := checkSettings(cmd, prune); err != nil {
				return err
			}
			site, err := o.site(cmd, args[0])
			if err != nil {
				return err
			}
			opts := prune.Options(site)
			if opts.Signer, err = prune.Signer(opts.Clock); err != nil {
				return err
			}
			sum, err := streams.Prune(cmd.Context(), opts)
			if err != nil {
				return err
			}
			return o.report(cmd, opts.Log, &sum, prune.Strict)
		},
	}
	o.addFlags(cmd)
	addSettings(cmd, prune)
	return cmd
}
