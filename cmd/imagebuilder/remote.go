package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/registry"
	"imagebuilder/builtins/timespan"
)

// The commands on a store that machines share.

func newRemoteCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "remote", Short: "Keep a store small, and honest, that machines share"}
	asGroup(cmd)
	cmd.AddCommand(newRemotePruneCommand(), newRemoteVerifyCommand())
	return cmd
}

// openRemote is the store in a repository.
func openRemote(repository string) (*registry.Share, error) {
	share, err := registry.NewShare(repository)
	if err != nil {
		return nil, usageError{err}
	}
	return share, nil
}

func newRemotePruneCommand() *cobra.Command {
	var keep int
	var dry bool
	grace := timespan.Span(24 * time.Hour)
	cmd := &cobra.Command{
		Use:   "prune REPOSITORY",
		Short: "Remove from a shared store what only old runs have used",
		Long: `Remove from a store that machines share what only old runs have used: layers, results and
downloads that none of the newest runs of any recipe names, with the records of the others.
Each run with --remote-push that went well leaves such a record, an image whose tag is
run-DATE. Runs of one recipe with other options count for themselves. What cells have left for
'imagebuilder matrix publish --remote' is a result of their runs.

What was given less than --grace ago stays, as a run that gives it may not have ended yet. The
registry must be one that removes images (docker-registry: REGISTRY_STORAGE_DELETE_ENABLED=true);
the space is free once its own collector has run.`,
		Example: `  imagebuilder remote prune registry.example:5000/team/layers --keep-runs 7
  imagebuilder remote prune registry.example:5000/team/layers --keep-runs 7 --dry-run`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if keep < 1 {
				return usageError{errors.New("--keep-runs: want how many runs of each recipe stay, at least 1")}
			}
			share, err := openRemote(args[0])
			if err != nil {
				return err
			}
			p, err := share.Prune(cmd.Context(), keep, grace.Duration(), dry)
			what := "removed"
			if dry {
				what = "to be removed:"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %d of %d runs, %d of %d layers, results and downloads\n", what, p.Records, p.Records+p.KeptRecords, p.Entries, p.Entries+p.KeptEntries)
			if err != nil {
				return fmt.Errorf("cannot prune %s: %w", share, err)
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&keep, "keep-runs", 0, "how many runs of each recipe with the same options stay")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be removed")
	cmd.Flags().Var(&grace, "grace", "how long what no run names stays")
	return cmd
}
