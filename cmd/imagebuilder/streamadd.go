package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/options"
	"imagebuilder/streams"
	"imagebuilder/streams/words"
)

func newStreamAddCommand() *cobra.Command {
	var o siteOptions
	add := words.ForAdd(options.AsFlag)
	cmd := &cobra.Command{
		Use:   "add ROOT FILE...",
		Short: "Put a built image into a tree",
		Long: `Put an image into the tree as a new version, under a hidden name until all of it is on
the disk. FILEs are a metadata tarball and root file systems, known by their content, or
a unified tarball, which is taken apart, or the directory that has them. Of a directory
results for LXC are left out, and of two files that differ in their compression the older
one, or that which its SHA256SUMS do not list. Files that are cut off or have nothing in
them, and disks that need a backing file, are refused. Documents about the image come with it
under their names: *.intoto.jsonl, provenance.json, *.spdx.json, *.cdx.json and *.manifest. Product
and version are those that the metadata say unless flags do.

The path of the version in the tree is printed, also if it is there already. Clients see
the image after the next 'imagebuilder stream build'.`,
		Example: `  imagebuilder stream add /srv/images out/
  imagebuilder stream add /srv/images lxd.tar.xz rootfs.squashfs --variant cloud`,
		Args: args(2, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer bound(cmd, o.timeout)()
			if err := checkSettings(cmd, add); err != nil {
				return err
			}
			site, err := o.site(cmd, args[0])
			if err != nil {
				return err
			}
			opts := add.Options(site)
			opts.Files = args[1:]
			added, err := streams.Add(cmd.Context(), opts)
			if err != nil {
				return fmt.Errorf("cannot add the image: %w", err)
			}
			what := "Image added"
			if added.Existed {
				what = "Image is there already"
			}
			opts.Log.Info(what, "product", added.Product, "version", added.Version, "fingerprints", added.Fingerprints)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), added.Path)
			return err
		},
	}
	o.addFlags(cmd)
	addSettings(cmd, add)
	return cmd
}
