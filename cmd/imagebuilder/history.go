package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/printable"
	"imagebuilder/builtins/problems"
	"imagebuilder/runtime"
)

// What the last runs of a recipe did, and why.

func newHistoryCommand() *cobra.Command {
	var cache cacheOptions
	var run uint
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "history RECIPE",
		Short: "Say what the last runs of a recipe did, and why",
		Long: `List the last runs of a recipe or definition, the last one first, with their time, the
options they were given and how they ended. With --run each step of one is shown as the run
has shown it, and why it was not in the cache, as --explain would have said.`,
		Example: `  imagebuilder history debian
  imagebuilder history ./my.star --run 1`,
		Args:              args(1, 1),
		ValidArgsFunction: completeRecipe,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			store, err := cache.open(layer.Options{})
			if err != nil {
				return err
			}
			defer func() { err = problems.Join(err, store.Close()) }()
			runs, err := runtime.Runs(store, args[0])
			switch {
			case err != nil:
				return err
			case len(runs) == 0:
				return fmt.Errorf("no run of %s is known to the cache %s", args[0], store.Dir())
			case run > uint(len(runs)):
				return usageError{fmt.Errorf("--run %d: the last %d runs are known", run, len(runs))}
			case run > 0:
				runs = runs[run-1 : run]
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), runs)
			}
			if run > 0 {
				printRun(cmd.OutOrStdout(), runs[0])
				return nil
			}
			return listRuns(cmd.OutOrStdout(), runs)
		},
	}
	cache.addFlags(cmd)
	behindDoor(cmd)
	cmd.Flags().UintVar(&run, "run", 0, "show the steps of this `run`: 1 is the last")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// listRuns prints a line for each run.
func listRuns(w io.Writer, runs []runtime.Run) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RUN\tSTARTED\tTOOK\tSTEPS\tCACHED\tENDED\tOPTIONS")
	for i, run := range runs {
		cached := 0
		for _, step := range run.Steps {
			if step.Cached {
				cached++
			}
		}
		fmt.Fprintf(table, "%d\t%s\t%.1fs\t%d\t%d\t%s\t%s\n", i+1, run.Started.Local().Format(time.DateTime), run.Took,
			len(run.Steps), cached, ended(run), printable.Line(strings.Join(run.Options, " ")))
	}
	return table.Flush()
}

// ended says in few words how a run has ended.
func ended(run runtime.Run) string {
	switch {
	case run.Error != "":
		return shorten(run.Error, 60)
	case len(run.Results) == 1:
		return "1 result"
	}
	return fmt.Sprintf("%d results", len(run.Results))
}

// printRun prints the steps of a run as the run itself did, with all that --explain says.
func printRun(w io.Writer, run runtime.Run) {
	for _, step := range run.Steps {
		fmt.Fprintln(w, stepLine(step))
	}
	if run.Error != "" {
		fmt.Fprintln(w, "error: "+printable.Text(run.Error))
	}
	for _, r := range run.Results {
		fmt.Fprintln(w, printable.Line(r.Path))
	}
}

// stepLine is the line of a step, with columns, which the eye can run down.
func stepLine(d build.Done) string {
	took := fmt.Sprintf("%.1fs", d.Took)
	switch {
	case d.Cached:
		took = "cached"
	case d.Failed:
		took = "failed"
	}
	line := strings.TrimRight(fmt.Sprintf("%8s  %-14s %s", took, printable.Line(d.Step), shorten(d.What, 100)), " ")
	if d.Because != "" {
		line += "\n          " + printable.Line(d.Because)
	}
	return line
}
