package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/problems"
	"imagebuilder/runtime"
	"imagebuilder/runtime/matrix"
)

// A matrix on this machine: each cell is a process of the tool, with the command line that an
// engine would run.

// memoryPerCell is what a cell is taken to need where nobody says how many run side by side: to
// pack an image is what takes most.
const memoryPerCell = 1 << 30

// jobOptions are the flags of commands that build cells here.
type jobOptions struct {
	jobs int
	list bool
}

func (o *jobOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().IntVarP(&o.jobs, "jobs", "j", 0, fmt.Sprintf("build `N` cells of a matrix side by side (default: one for each processor, and %v of free memory)", bytesize.Size(memoryPerCell)))
	cmd.Flags().BoolVar(&o.list, "list", false, "print the cells of a matrix as JSON, and build nothing")
}

// number is how many cells are built side by side.
func (o *jobOptions) number() (int, error) {
	switch {
	case o.jobs < 0:
		return 0, usageError{fmt.Errorf("-j %d: want at least 1", o.jobs)}
	case o.jobs > 0:
		return o.jobs, nil
	}
	return max(1, min(goruntime.GOMAXPROCS(0), int(host.FreeMemory()/memoryPerCell))), nil
}

// runMatrixOptions are the flags of run about the matrix of one recipe.
type runMatrixOptions struct {
	axes []string
	jobs jobOptions
}

func (o *runMatrixOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&o.axes, "matrix", nil, "run the recipe with each of these values of an option, as `name=value,...`; with each combination if it is repeated")
	o.jobs.addFlags(cmd)
}

// calls are the cells of the recipe.
func (o *runMatrixOptions) calls(recipe string, set []string) ([]runtime.Cells, error) {
	if recipe == "-" {
		return nil, usageError{errors.New("a recipe of standard input can be run once only: put it into a file for --matrix")}
	}
	fixed, err := fixedAxes(set)
	if err != nil {
		return nil, err
	}
	c := runtime.Cells{Recipe: recipe, Fixed: fixed}
	names := make(map[string]bool)
	for _, one := range fixed {
		names[one.Name] = true
	}
	for _, text := range o.axes {
		name, values, ok := strings.Cut(text, "=")
		if !ok || values == "" {
			return nil, usageError{fmt.Errorf("--matrix %s: want name=value, or several with commas", text)}
		}
		if names[name] {
			return nil, usageError{fmt.Errorf("--matrix %s: it is given already", name)}
		}
		names[name] = true
		c.Axes = append(c.Axes, runtime.Axis{Name: name, Values: strings.Split(values, ",")})
	}
	return []runtime.Cells{c}, nil
}

func newMatrixRunCommand() *cobra.Command {
	var o cellOptions
	var jobs jobOptions
	cmd := &cobra.Command{
		Use:   "run FILE [TARGET_DIR]",
		Short: "Build the cells of a matrix file on this machine",
		Long: `Build the cells that a matrix file declares, several side by side. Each is a run in a process of
its own; what it makes is in TARGET_DIR/CELL, with its log and result.json, which says
what became of it. All cells are planned before the first is built. Those whose plans begin
alike share what they begin with: the first of them is built before the others.

A cell that fails stops no other, and makes the exit status 1 at the end. What is interrupted
goes on from the cache when it is run again. The results of cells with a stream are
put into that tree when all are done, and its catalogs are made once. A table says
what became of each cell.`,
		Example: `  imagebuilder matrix run all.star out
  imagebuilder matrix run all.star out -j 4 -o compression=zstd-3
  imagebuilder matrix run all.star out --list`,
		Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := o.load(cmd, args[0])
			if err != nil {
				return err
			}
			return o.build(cmd, m.Cells, append(args, ".")[1], jobs)
		},
	}
	o.addFlags(cmd)
	jobs.addFlags(cmd)
	return cmd
}

// runMatrix runs a recipe with each combination of values.
func (o *runOptions) runMatrix(cmd *cobra.Command, recipe, target string) error {
	if o.result != "" {
		return usageError{errors.New("--result is of one run: each cell of a matrix has its own, " + matrix.ResultFile)}
	}
	calls, err := o.matrix.calls(recipe, o.recipe.set)
	if err != nil {
		return err
	}
	return (&cellOptions{*o}).build(cmd, calls, target, o.matrix.jobs)
}

// build builds cells, or lists them.
func (o *cellOptions) build(cmd *cobra.Command, calls []runtime.Cells, out string, jobs jobOptions) error {
	n, err := jobs.number()
	if err != nil {
		return err
	}
	cells, err := o.cells(cmd, calls, out)
	if err != nil {
		return err
	}
	if jobs.list {
		return printJSON(cmd.OutOrStdout(), cells)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("cannot make the directory of the results: %w", err)
	}
	endingOf(cmd.Context()).more.Store(int64(cellGrace)) // cells end in order, too
	display := o.run.build.log.newCellDisplay(cmd.ErrOrStderr(), len(cells))
	defer display.Close()
	runner := matrix.Runner{Jobs: n, Do: func(ctx context.Context, c matrix.Cell) matrix.Result {
		lines, done := display.start(c)
		r := runCell(ctx, c, filepath.Join(out, c.ID), lines)
		done(r)
		return r
	}}
	results := runner.Run(cmd.Context(), cells)
	display.Close()
	if cause := context.Cause(cmd.Context()); cause != nil {
		return problems.Join(printCells(cmd.ErrOrStderr(), results), fmt.Errorf("%w, with %d of %d cells built: the same command goes on from what is in the cache",
			cause, len(cells)-len(notOK(results)), len(cells)))
	}
	err = o.run.build.publish(cmd, cells, results)
	return problems.Join(reportCells(cmd, results, o.run.build.json), err)
}

// cellGrace is how long a cell may take to end in order.
const cellGrace = endGrace + 2*time.Second

// runCell runs a cell, with its log in its directory. lines gets what it says as well.
func runCell(ctx context.Context, c matrix.Cell, dir string, lines io.Writer) matrix.Result {
	failed := func(err error) matrix.Result {
		return matrix.Result{ID: c.ID, Status: matrix.Failed, Error: err.Error()}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return failed(err)
	}
	if err := os.Remove(filepath.Join(dir, matrix.ResultFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return failed(err)
	}
	log, err := os.Create(filepath.Join(dir, matrix.LogFile))
	if err != nil {
		return failed(err)
	}
	said := io.MultiWriter(log, lines)
	err = host.Command{Args: c.Command, Path: "/proc/self/exe", Env: os.Environ(), Stdout: log, Stderr: said, Grace: cellGrace}.Run(ctx)
	err = problems.Join(err, log.Close())
	r, unread := matrix.ReadResult(filepath.Dir(dir), c.ID)
	switch {
	case unread != nil:
		return failed(unread)
	case r.Status == matrix.NotStarted && ctx.Err() != nil, r.Status == matrix.Running && ctx.Err() != nil:
		r.Status, r.Error = matrix.Interrupted, "its process was killed"
	case err != nil && (r.Status == matrix.NotStarted || r.Status == matrix.Running):
		return failed(fmt.Errorf("its process has left no result: %w", endedProcess(err)))
	}
	return r
}

// endedProcess is how a process has ended, without its long command line.
func endedProcess(err error) error {
	var exit *host.ExitError
	if errors.As(err, &exit) {
		return exit.Err
	}
	return err
}
