package main

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/options"
	"imagebuilder/builtins/problems"
	"imagebuilder/runtime/matrix"
	"imagebuilder/streams"
	"imagebuilder/streams/words"
)

// The publisher is the only one who writes into the tree of an image server, when all cells are
// done: no lock has to span machines.

func newMatrixPublishCommand() *cobra.Command {
	var o cellOptions
	cmd := &cobra.Command{
		Use:   "publish FILE [TARGET_DIR]",
		Short: "Put the results of cells into the trees of image servers",
		Long: `Put the results of the cells that a matrix file declares, which other machines have left
in TARGET_DIR, into the trees that the file names, and make the catalogs of these once. What is
there already stays as it is, and a cell without results is left out. It says what
became of each cell, and fails if any has not come to a good end. 'imagebuilder matrix run' does the
same at its end.`,
		Example: `  imagebuilder matrix publish all.star out`,
		Args:    args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := o.load(cmd, args[0])
			if err != nil {
				return err
			}
			cells, err := matrix.Expand(m.Cells)
			if err != nil {
				return err
			}
			var results []matrix.Result
			for _, c := range cells {
				r, err := matrix.ReadResult(append(args, ".")[1], c.ID)
				if err != nil {
					return err
				}
				results = append(results, r)
			}
			err = o.run.build.publish(cmd, cells, results)
			return problems.Join(reportCells(cmd, results, o.run.build.json), err)
		},
	}
	o.run.recipe.addFlags(cmd)
	cmd.ValidArgsFunction = completeStar
	o.run.build.log.addFlags(cmd)
	addJSONFlag(cmd, &o.run.build.json)
	return cmd
}

// publish puts the results of cells into the trees that are theirs, and makes the catalogs of
// each tree once.
func (o *buildOptions) publish(cmd *cobra.Command, cells []matrix.Cell, results []matrix.Result) error {
	site := siteOptions{log: o.log}
	var errs []error
	var trees []string
	for i, c := range cells {
		if c.Stream == "" || results[i].Status != matrix.OK {
			continue
		}
		if !slices.Contains(trees, c.Stream) {
			trees = append(trees, c.Stream)
		}
		for _, dir := range imageDirs(results[i]) {
			if err := o.addImage(cmd, site, c, dir); err != nil {
				errs = append(errs, fmt.Errorf("cannot add the image of %s: %w", c.ID, err))
			}
		}
	}
	for _, tree := range trees {
		at, err := site.site(cmd, tree)
		if err != nil {
			return err
		}
		sum, err := streams.Build(cmd.Context(), words.ForBuild(options.AsFlag).Options(at))
		if err == nil {
			err = sum.Err()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot make the catalogs of %s: %w", tree, err))
		}
	}
	return problems.Join(errs...)
}

func (o *buildOptions) addImage(cmd *cobra.Command, site siteOptions, c matrix.Cell, dir string) error {
	at, err := site.site(cmd, c.Stream)
	if err != nil {
		return err
	}
	opts := words.ForAdd(options.AsFlag).Options(at)
	opts.Files = []string{dir}
	added, err := streams.Add(cmd.Context(), opts)
	if err != nil {
		return err
	}
	what := "Image added"
	if added.Existed {
		what = "Image is there already"
	}
	opts.Log.Info(what, "cell", c.ID, "path", added.Path)
	return nil
}

// imageDirs are the directories with the images of a cell.
func imageDirs(r matrix.Result) (dirs []string) {
	for _, result := range r.Results {
		if dir := filepath.Dir(result.Path); result.SHA256 != "" && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}
