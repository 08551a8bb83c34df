package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"imagebuilder/streams"
	"imagebuilder/streams/catalog"
)

func newStreamAddCommand() *cobra.Command {
	var tree treeOptions
	var o streams.AddOptions
	cmd := &cobra.Command{
		Use:   "add ROOT FILE...",
		Short: "Put a built image into a tree",
		Long: `Put an image into the tree as a new version, under a hidden name until all of it is on
the disk. FILEs are a metadata tarball and root file systems, known by their content, or
a unified tarball, which is taken apart, or the directory that has them. Product and
version are those that the metadata say unless flags do.

The path of the version in the tree is printed, also if it is there already. Clients see
the image after the next 'imagebuilder stream build'.`,
		Example: `  imagebuilder stream add /srv/images out/
  imagebuilder stream add /srv/images lxd.tar.xz rootfs.squashfs --variant cloud`,
		Args: args(2, 1000),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			defer bound(cmd, tree.timeout)()
			if err := checkName(cmd, o.Name, o.Version); err != nil {
				return err
			}
			if o.Site, err = tree.tree(cmd, args[0]); err != nil {
				return err
			}
			o.Files = args[1:]
			added, err := streams.Add(cmd.Context(), o)
			if err != nil {
				return fmt.Errorf("cannot add the image: %w", err)
			}
			what := "Image added"
			if added.Existed {
				what = "Image is there already"
			}
			o.Log.Info(what, "product", added.Product, "version", added.Version, "fingerprints", added.Fingerprints)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), added.Path)
			return err
		},
	}
	tree.addFlags(cmd, "images")
	cmd.Flags().StringVar(&o.Name.Distro, "distribution", "", "`name` of the distribution")
	cmd.Flags().StringVar(&o.Name.Release, "release", "", "`name` of the release")
	cmd.Flags().StringVar(&o.Name.Arch, "architecture", "", "`name` of the architecture, as in amd64")
	cmd.Flags().StringVar(&o.Name.Variant, "variant", "", "`name` of the variant")
	cmd.Flags().StringVar(&o.Version, "version", "", "`name` of the version, as in 20260102_0304; it must be free")
	cmd.Flags().BoolVar(&o.Link, "link", false, "link the files instead of copying them, where that is possible")
	return cmd
}

// checkName checks the parts of a product's name that flags give.
func checkName(cmd *cobra.Command, n catalog.Name, version string) error {
	for _, part := range []struct{ flag, value string }{
		{"distribution", n.Distro}, {"release", n.Release}, {"architecture", n.Arch}, {"variant", n.Variant},
	} {
		if !cmd.Flags().Changed(part.flag) {
			continue
		}
		if err := catalog.CheckPart(part.value); err != nil {
			return usageError{fmt.Errorf("--%s: %w", part.flag, err)}
		}
	}
	if cmd.Flags().Changed("version") {
		if err := catalog.CheckVersion(version); err != nil {
			return usageError{fmt.Errorf("--version: %w", err)}
		}
	}
	return nil
}
