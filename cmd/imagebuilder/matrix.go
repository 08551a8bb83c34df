package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/printable"
	"imagebuilder/compat"
	"imagebuilder/runtime"
	"imagebuilder/runtime/matrix"
)

// Many runs that are one piece of work: which they are, and how each is a command line.

func newMatrixCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "matrix",
		Short: "Build many images, here or on an engine for many machines",
		Long: `Build every cell of a matrix: recipes with options, as a matrix file declares them:

  cells("debian", release = ["bookworm", "trixie"], variant = ["default", "cloud"], stream = "/srv/images")

Each cell is a run of its own, in a process of its own, with a directory of its own.
'imagebuilder doc cells' says what such a file can say.`,
	}
	asGroup(cmd)
	cmd.AddCommand(newMatrixRunCommand(), newMatrixPlanCommand(), newMatrixPublishCommand(), newMatrixStatusCommand())
	return cmd
}

// cellOptions are the flags of all commands on cells: those of a run, which each cell gets.
type cellOptions struct {
	run runOptions
}

// addFlags adds the flags of a run that every cell can have.
func (o *cellOptions) addFlags(cmd *cobra.Command) {
	o.run.recipe.addFlags(cmd)
	o.run.recipe.addToolFlag(cmd)
	cmd.Flags().Lookup("option").Usage = "set an option of every recipe, as `name=value`; may be repeated"
	cmd.ValidArgsFunction = completeStar
	o.run.build.addFlags(cmd)
	o.run.locked.addFlags(cmd)
	cmd.Flags().Var(&o.run.timeout, "timeout", "end the run of a cell after this `duration`, such as 90s or 2h")
}

// notPassed are the flags that are not those of a cell.
var notPassed = []string{"for", "image", "jobs", "json", "list", "matrix", "option", "result", "shell-on-failure", "tool", "trace"}

// passed are the flags of a run that cells are started with, as they were given.
func passed(cmd *cobra.Command) (args []string) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if slices.Contains(notPassed, f.Name) {
			return
		}
		values := []string{f.Value.String()}
		switch v := f.Value.(type) {
		case pflag.SliceValue:
			values = v.GetSlice()
		case *bytesize.Size: // which its text has rounded
			values = []string{fmt.Sprint(int64(*v))}
		}
		for _, value := range values {
			args = append(args, "--"+f.Name+"="+value)
		}
	})
	return args
}

// check finds what is wrong with flags of which each cell would say so.
func (o *cellOptions) check() error {
	switch {
	case o.run.build.trace != "":
		return usageError{errors.New("--trace is of one run: run the cell alone to trace it")}
	case o.run.build.shell:
		return usageError{errors.New("--shell-on-failure is of one run: run the cell alone")}
	}
	_, err := o.run.build.share.open(o.run.build.signKey)
	return err
}

// cells plans the cells of calls, whose results are below a directory.
func (o *cellOptions) cells(cmd *cobra.Command, calls []runtime.Cells, out string) ([]matrix.Cell, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	cells, err := matrix.Expand(calls)
	if err != nil {
		return nil, err
	}
	config, err := runtimeConfig(cmd, logOptions{})
	if err != nil {
		return nil, err
	}
	if config.Secrets, err = o.run.recipe.givenSecrets(); err != nil {
		return nil, err
	}
	if config.Tools, err = o.run.recipe.givenTools(); err != nil {
		return nil, err
	}
	config.Log = nil // what recipes say is for the log of the cell
	open := func(ctx context.Context, recipe string, set []string) (*runtime.Recipe, error) {
		own, err := config, error(nil)
		if own.Tools, err = o.run.locked.tools(recipe, config.Tools); err != nil {
			return nil, err
		}
		return compat.Open(ctx, recipe, set, own)
	}
	if err := matrix.Plan(cmd.Context(), cells, host.Machine(), open); err != nil {
		return nil, err
	}
	flags := passed(cmd)
	for i := range cells {
		dir := filepath.Join(out, cells[i].ID)
		command := append([]string{"imagebuilder", "run", cells[i].Recipe, dir, "--result=" + filepath.Join(dir, matrix.ResultFile)}, flags...)
		for _, name := range cells[i].Needs.Programs { // what is there where it is built does not choose
			if slices.Contains(build.Choices, name) && (host.Installed(name) || len(config.Tools) > 0 || o.run.locked.how != "") {
				command = append(command, "--tool="+name)
			}
		}
		for _, option := range cells[i].Options {
			command = append(command, "-o", option)
		}
		cells[i].Command = command
	}
	return cells, nil
}

// load loads a matrix file, whose cells all have the options of -o as well.
func (o *cellOptions) load(cmd *cobra.Command, file string) (*runtime.Matrix, error) {
	config, err := runtimeConfig(cmd, logOptions{})
	if err != nil {
		return nil, err
	}
	m, err := runtime.LoadMatrix(cmd.Context(), file, config)
	if err != nil {
		return nil, err
	}
	more, err := fixedAxes(o.run.recipe.set)
	if err != nil {
		return nil, err
	}
	for i := range m.Cells {
		c := &m.Cells[i]
		for _, one := range more {
			if slices.ContainsFunc(c.Axes, func(a runtime.Axis) bool { return a.Name == one.Name }) {
				return nil, usageError{c.Within(fmt.Errorf("-o %s: it is an axis of these cells", one.Name))}
			}
		}
		c.Fixed = append(c.Fixed, more...)
	}
	return m, nil
}

// expand is the cells of a matrix file, which are not planned.
func (o *cellOptions) expand(cmd *cobra.Command, file string) ([]matrix.Cell, error) {
	m, err := o.load(cmd, file)
	if err != nil {
		return nil, err
	}
	return matrix.Expand(m.Cells)
}

// fixedAxes are options of -o, which all cells have.
func fixedAxes(set []string) (list []runtime.Axis, err error) {
	for _, text := range set {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("-o %s: want name=value", text)}
		}
		list = append(list, runtime.Axis{Name: name, Values: []string{value}})
	}
	return list, nil
}

// printCells prints what became of cells, a line each.
func printCells(w io.Writer, results []matrix.Result) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CELL\tSTATUS\tSTEPS\tFOUND\tPULLED\tBUILT\tSIZE\tTOOK\t")
	for _, r := range results {
		if r.Status == matrix.NotStarted {
			fmt.Fprintf(table, "%s\t%s\t\t\t\t\t\t\t\n", r.ID, r.Status)
			continue
		}
		why := printable.Line(r.Error)
		if r.Status == matrix.Running {
			why = "since " + r.Started.Format("2006-01-02 15:04:05") + " UTC on " + printable.Line(r.Host)
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%v\t%.1fs\t%s\n", printable.Line(r.ID), r.Status, r.Steps, r.Found, r.Pulled, r.Built, bytesize.Size(r.Bytes), r.Took, why)
	}
	return table.Flush()
}

// notOK are the ids of cells that have not come to a good end.
func notOK(results []matrix.Result) (ids []string) {
	for _, r := range results {
		if r.Status != matrix.OK {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// reportCells prints what became of cells, and fails if any has not come to a good end.
func reportCells(cmd *cobra.Command, results []matrix.Result, asJSON bool) error {
	var err error
	if asJSON {
		err = printJSON(cmd.OutOrStdout(), append([]matrix.Result{}, results...))
	} else {
		err = printCells(cmd.OutOrStdout(), results)
	}
	if bad := notOK(results); err == nil && len(bad) > 0 {
		err = fmt.Errorf("%d of %d cells are not built: %s", len(bad), len(results), strings.Join(bad, ", "))
	}
	return err
}

func newMatrixStatusCommand() *cobra.Command {
	var o cellOptions
	cmd := &cobra.Command{
		Use:   "status DIR|FILE",
		Short: "Show what became of cells",
		Long: `Show for each cell below a directory of results what has become of it: its status, how many
steps it had, how many of these were found in a cache and how many were built, how many layers
and results came from a shared store, the size of its results, and how long it took; or
why it failed. One that is said to be running may have lost its machine. It fails if any cell has
not come to a good end.

With --remote, it shows what the cells of a matrix file have said in a store that machines share.`,
		Example: `  imagebuilder matrix status out
  imagebuilder matrix status out --json
  imagebuilder matrix status all.star --remote registry.example:5000/team/layers --remote-keys ci.pub`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := o.run.build.share.openTaking()
			var results []matrix.Result
			switch {
			case err == nil && source != nil:
				results, err = o.look(cmd, source, args[0])
			case err == nil:
				results, err = matrix.ReadResults(args[0])
				if err == nil && len(results) == 0 {
					err = fmt.Errorf("there are no results of cells in %s, such as %s", args[0], filepath.Join(args[0], "debian-trixie", matrix.ResultFile))
				}
			}
			if err != nil {
				return err
			}
			return reportCells(cmd, results, o.run.build.json)
		},
	}
	cmd.Flags().StringArrayVarP(&o.run.recipe.set, "option", "o", nil, "with --remote, an option that every cell was given, as `name=value`; may be repeated")
	o.run.build.share.addTakingFlags(cmd)
	addJSONFlag(cmd, &o.run.build.json)
	return cmd
}

// look is what the cells of a matrix file have said in a shared store.
func (o *cellOptions) look(cmd *cobra.Command, source *matrix.Source, file string) ([]matrix.Result, error) {
	cells, err := o.expand(cmd, file)
	if err != nil {
		return nil, err
	}
	return ofCells(cmd, cells, source.Look)
}
