package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/streams"
)

// streamPruneOptions are the flags of "stream prune".
type streamPruneOptions struct {
	streams.PruneOptions
	tree   treeOptions
	sign   signOptions
	safety safetyOptions
	strict bool
}

func newStreamPruneCommand() *cobra.Command {
	var o streamPruneOptions
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
			defer bound(cmd, o.tree.timeout)()
			opts, err := o.options(cmd, args[0])
			if err != nil {
				return err
			}
			sum, err := streams.Prune(cmd.Context(), opts)
			if err != nil {
				return err
			}
			return o.tree.report(cmd, opts.Log, &sum, o.strict)
		},
	}
	o.tree.addFlags(cmd, "images")
	o.tree.addWorkFlags(cmd)
	o.addFlags(cmd)
	o.sign.addFlags(cmd, "sign the index and the catalogs")
	o.safety.addFlags(cmd)
	return cmd
}

func (o *streamPruneOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&o.Retain.Builds, "retain-builds", streams.DefaultRetainBuilds, "`number` of versions of each product to keep")
	f.IntVar(&o.Retain.Days, "retain-days", 0, "keep versions of so many `days`, and the newest (default any age)")
	f.BoolVar(&o.Retain.AllowEmpty, "allow-empty", false, "let --retain-days take the last version of a product as well")
	f.StringSliceVar(&o.Remove, "remove", nil, "take out the version of the image with this `fingerprint`, or its beginning, and nothing else unless --retain-builds or --retain-days is given; may be repeated")
	f.DurationVar(&o.Grace, "grace", streams.DefaultGrace, "`duration` from leaving the catalog to the removal of files; 0: at once")
	f.BoolVar(&o.Dangling, "dangling", false, "also remove what no catalog lists")
	f.DurationVar(&o.DanglingAge, "dangling-age", streams.DefaultDanglingAge, "`duration` for which it must have been left alone")
	f.BoolVar(&o.DryRun, "dry-run", false, "only say what would be done")
	f.BoolVar(&o.strict, "strict", false, "exit with 1 if there was any trouble")
}

func (o *streamPruneOptions) options(cmd *cobra.Command, root string) (opts streams.PruneOptions, err error) {
	opts = o.PruneOptions
	switch {
	case opts.Retain.Builds < 1:
		return opts, usageError{fmt.Errorf("--retain-builds %d: want at least 1", opts.Retain.Builds)}
	case opts.Retain.Days < 0 || opts.Grace < 0 || opts.DanglingAge < 0:
		return opts, usageError{errors.New("--retain-days, --grace and --dangling-age are not negative")}
	case opts.Grace == 0:
		opts.Grace = streams.AtOnce
	}
	if !cmd.Flags().Changed("retain-builds") {
		opts.Retain.Builds = 0 // the default, or all with --remove
	}
	opts.DanglingAge = max(opts.DanglingAge, time.Nanosecond) // zero would mean the default
	if opts.Site, err = o.tree.tree(cmd, root); err != nil {
		return opts, err
	}
	if opts.Safety, err = o.safety.safety(); err != nil {
		return opts, err
	}
	opts.Signer, err = o.sign.signer(opts.Clock)
	return opts, err
}
