package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/registry"
	"imagebuilder/runtime/matrix"
)

// A matrix for engines that are there for many machines.

func newMatrixPlanCommand() *cobra.Command {
	var o cellOptions
	var engine, image string
	cmd := &cobra.Command{
		Use:   "plan FILE [TARGET_DIR]",
		Short: "Print a matrix as jobs for an engine",
		Long: `Plan all cells of a matrix file and print them as an engine takes them:

  json        the contract: id, command line, what a machine must have, group, after which
              cell it starts; of which all others are made
  make        a Makefile, for make -j8
  slurm       a script of sbatch lines: first cells of groups as arrays, the rest after them,
              whatever became of these, one publisher last
  github      a workflow with two matrices
  gitlab      a child pipeline
  kubernetes  indexed Jobs, applied in three stages; --image is the image of their containers

Nodes are chosen by architecture, as uname -m says it. Paths are as they are given: jobs run in
the same directory, with TARGET_DIR shared by all or brought to the publisher. What a run is told
here, such as --remote, --remote-keys or --locked, every cell is told. Where programs take each
other's place, such as debootstrap and mmdebstrap, it is told which: that of its lock, of --tool, or
the one that is chosen here. With --remote-push and --remote-keys all results are in the store that
machines share: for github and gitlab the publisher takes them from there, where they are artifacts
otherwise; json has both command lines.`,
		Example: `  imagebuilder matrix plan all.star out --for json
  imagebuilder matrix plan all.star out --for slurm --remote registry.example:5000/team/layers --remote-keys ci.pub
  imagebuilder matrix plan all.star out --for kubernetes --image registry.example/imagebuilder`,
		Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(matrix.Engines(), engine) {
				return usageError{fmt.Errorf("--for %q: want one of %s", engine, strings.Join(matrix.Engines(), ", "))}
			}
			if engine == "kubernetes" && image == "" {
				return usageError{errors.New("--for kubernetes needs --image, of containers with imagebuilder and what it needs")}
			}
			m, err := o.load(cmd, args[0])
			if err != nil {
				return err
			}
			out := append(args, ".")[1]
			cells, err := o.cells(cmd, m.Cells, out)
			if err != nil {
				return err
			}
			job := matrix.Job{
				Description: m.Doc, Cells: cells, Directory: out, Image: image,
				Publish: []string{"imagebuilder", "matrix", "publish", args[0], out},
			}
			job.PublishRemote = o.publishRemote(job.Publish)
			return job.Write(cmd.OutOrStdout(), engine)
		},
	}
	o.addFlags(cmd)
	cmd.Annotations = nil // it builds nothing, so it needs no root
	cmd.Flags().StringVar(&engine, "for", "json", "`engine` to print the jobs for: "+strings.Join(matrix.Engines(), ", "))
	completeValues(cmd, "for", matrix.Engines())
	cmd.Flags().StringVar(&image, "image", "", "`image` of containers for kubernetes, and for gitlab")
	return cmd
}

// publishRemote is the command line of a publisher for machines that have nothing but a shared store in
// common, nil if cells do not give it their results or nobody is trusted with them.
func (o *cellOptions) publishRemote(publish []string) []string {
	share := o.run.build.share
	if share.push == string(registry.None) || share.keys == "" {
		return nil
	}
	line := append(slices.Clone(publish), "--remote="+share.repository, "--remote-keys="+share.keys)
	for _, option := range o.run.recipe.set { // by which cells are known
		line = append(line, "-o", option)
	}
	return line
}
