package main

import (
	"github.com/spf13/cobra"

	"imagebuilder/builtins/options"
	"imagebuilder/streams"
	"imagebuilder/streams/words"
)

func newStreamBuildCommand() *cobra.Command {
	var o siteOptions
	build := words.ForBuild(options.AsFlag)
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
			defer bound(cmd, o.timeout)()
			if err := checkSettings(cmd, build); err != nil {
				return err
			}
			site, err := o.site(cmd, args[0])
			if err != nil {
				return err
			}
			opts := build.Options(site)
			if opts.Signer, err = build.Signer(opts.Clock); err != nil {
				return err
			}
			sum, err := streams.Build(cmd.Context(), opts)
			if err != nil {
				return err
			}
			return o.report(cmd, opts.Log, &sum, build.Strict)
		},
	}
	o.addFlags(cmd)
	addSettings(cmd, build)
	return cmd
}
