package main

import (
	"github.com/spf13/cobra"
)

func newStreamCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stream",
		Short: "Maintain and serve an image server",
		Long: `Maintain the tree of a simplestreams image server, which LXD and Incus take images from:

  ROOT/images/<distribution>/<release>/<architecture>/<variant>/<version>/<files>
  ROOT/streams/v1/index.json, images.json    made from what is there

  imagebuilder stream add ROOT out/        put a built image into it
  imagebuilder stream build ROOT --page    list what is there, with a web page
  imagebuilder stream serve ROOT           try it out
  imagebuilder stream prune ROOT           take old versions out
  imagebuilder stream verify ROOT          check all that is listed

A version whose name starts with a dot is not finished: upload to .VERSION, then rename.`,
	}
	asGroup(cmd)
	cmd.AddCommand(
		newStreamAddCommand(),
		newStreamBuildCommand(),
		newStreamListCommand(),
		newStreamPruneCommand(),
		newStreamServeCommand(),
		newStreamVerifyCommand(),
	)
	return cmd
}
