package main

import (
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"imagebuilder/streams"
	"imagebuilder/streams/inventory"
)

// streamBuildOptions are the flags of "stream build".
type streamBuildOptions struct {
	tree     treeOptions
	deltas   deltaOptions
	page     pageOptions
	sign     signOptions
	safety   safetyOptions
	upstream bool
	dryRun   bool
	strict   bool
}

func newStreamBuildCommand() *cobra.Command {
	var o streamBuildOptions
	cmd := &cobra.Command{
		Use:   "build ROOT",
		Short: "List the images of a tree for clients",
		Long: `Make the catalogs and the index of what is in the tree, with deltas between versions.
Only what is new or has changed is read; files that would stay as they are are not
touched. What is wrong with one version is reported and keeps that one out. The index
lists the streams given and no others.

A version is listed if it has metadata (lxd.tar.xz or incus.tar.xz) and a root file
system, and does not contradict its SHA256SUMS.`,
		Example: `  imagebuilder stream build /srv/images
  imagebuilder stream build /srv/images --stream images,daily --retain-builds 3
  imagebuilder stream build /srv/images --page --page-url https://images.example.org`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer bound(cmd, o.tree.timeout)()
			opts, err := o.options(cmd, args[0])
			if err != nil {
				return err
			}
			sum, err := streams.Build(cmd.Context(), opts)
			if err != nil {
				return err
			}
			return o.tree.report(cmd, opts.Log, &sum, o.strict)
		},
	}
	o.tree.addFlags(cmd, "images")
	o.tree.addWorkFlags(cmd)
	o.deltas.addFlags(cmd)
	o.page.addFlags(cmd)
	o.sign.addFlags(cmd, "sign the index and the catalogs")
	o.safety.addFlags(cmd)
	cmd.Flags().BoolVar(&o.upstream, "upstream", false, "list what simplestream-maintainer lists, no more; Incus sees no images then")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only say what would be done, as far as can be told without reading images")
	cmd.Flags().BoolVar(&o.strict, "strict", false, "exit with 1 if there was any trouble")
	return cmd
}

func (o *streamBuildOptions) options(cmd *cobra.Command, root string) (opts streams.BuildOptions, err error) {
	opts.Upstream, opts.DryRun = o.upstream, o.dryRun
	if opts.Site, err = o.tree.tree(cmd, root); err != nil {
		return opts, err
	}
	if opts.Deltas, err = o.deltas.options(); err != nil {
		return opts, err
	}
	if opts.Page, err = o.page.options(cmd); err != nil {
		return opts, err
	}
	if opts.Safety, err = o.safety.safety(); err != nil {
		return opts, err
	}
	opts.Signer, err = o.sign.signer(opts.Clock)
	return opts, err
}

// deltaOptions are the flags about deltas.
type deltaOptions struct {
	streams.DeltaOptions
	disks  string
	memory byteSize
}

func (o *deltaOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.Off, "no-deltas", false, "make no deltas; those that are there stay listed")
	cmd.Flags().StringVar(&o.disks, "disk-deltas", "safe",
		"`which` deltas of VM disks to list: always, never, or safe: not those that Incus would apply to a container image")
	cmd.Flags().Float64Var(&o.MaxShare, "delta-share", 0.8, "largest `share` of its file, from 0 to 1, at which a delta is worth having")
	cmd.Flags().Var(&o.memory, "delta-memory", "`size` of the memory that all xdelta3 processes take together (default half of the machine's)")
	cmd.Flags().Lookup("delta-memory").DefValue = "" // or help says 0 B, which is not what it means
	cmd.Flags().IntVar(&o.Retain.Builds, "retain-builds", 0, "make deltas only for so many of the newest versions, as prune is going to keep (default all)")
	cmd.Flags().IntVar(&o.Retain.Days, "retain-days", 0, "make deltas only for versions of the last `days`, as prune is going to keep (default all)")
}

func (o *deltaOptions) options() (streams.DeltaOptions, error) {
	opts := o.DeltaOptions
	disks, err := inventory.ParseDiskDeltas(o.disks)
	switch {
	case err != nil:
		return opts, usageError{fmt.Errorf("--disk-deltas: %w", err)}
	case math.IsNaN(o.MaxShare) || o.MaxShare < 0 || o.MaxShare > 1:
		return opts, usageError{fmt.Errorf("--delta-share %v: want a share from 0 to 1", o.MaxShare)}
	case o.Retain.Builds < 0 || o.Retain.Days < 0:
		return opts, usageError{fmt.Errorf("--retain-builds and --retain-days are not negative")}
	}
	opts.Disks, opts.Memory = disks, int64(o.memory)
	opts.MaxShare = max(opts.MaxShare, math.SmallestNonzeroFloat64) // zero would mean the default
	return opts, nil
}
