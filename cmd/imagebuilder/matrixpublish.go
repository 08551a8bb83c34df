package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"imagebuilder/builtins/options"
	"imagebuilder/builtins/problems"
	"imagebuilder/builtins/registry"
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
same at its end.

With --remote the results are those that the cells have given to a store that machines share,
as far as one of the keys in --remote-keys has signed them: they are put into TARGET_DIR first. Cells are
known by their recipe and options, so that -o is to be as for 'imagebuilder matrix plan'. The last run
of each counts, if --max-age says so only one that began lately.`,
		Example: `  imagebuilder matrix publish all.star out
  imagebuilder matrix publish all.star out --remote registry.example:5000/team/layers --remote-keys ci.pub`,
		Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := o.run.build.share.openTaking()
			if err != nil {
				return err
			}
			cells, err := o.expand(cmd, args[0])
			if err != nil {
				return err
			}
			out := append(args, ".")[1]
			results, err := ofCells(cmd, cells, func(ctx context.Context, c matrix.Cell) (matrix.Result, error) {
				if source == nil {
					return matrix.ReadResult(out, c.ID)
				}
				return source.Take(ctx, out, c)
			})
			if err != nil {
				return err
			}
			err = o.run.build.publish(cmd, cells, results)
			return problems.Join(reportCells(cmd, results, o.run.build.json), err)
		},
	}
	o.run.recipe.addFlags(cmd)
	cmd.ValidArgsFunction = completeStar
	o.run.build.log.addFlags(cmd)
	o.run.build.share.addTakingFlags(cmd)
	addJSONFlag(cmd, &o.run.build.json)
	return cmd
}

// takenTogether is how many cells are taken from a shared store side by side.
const takenTogether = 4

// ofCells is what became of each cell, where find finds that.
func ofCells(cmd *cobra.Command, cells []matrix.Cell, find func(context.Context, matrix.Cell) (matrix.Result, error)) ([]matrix.Result, error) {
	results := make([]matrix.Result, len(cells))
	group, ctx := errgroup.WithContext(cmd.Context())
	group.SetLimit(takenTogether)
	for i, c := range cells {
		group.Go(func() (err error) {
			results[i], err = find(ctx, c)
			return err
		})
	}
	err := group.Wait()
	if cause := context.Cause(cmd.Context()); cause != nil {
		return nil, cause
	}
	var silent *registry.SilentError
	if errors.As(err, &silent) {
		return nil, fmt.Errorf("cannot know what became of the cells: %w; do this again when it answers", err)
	}
	return results, err
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
