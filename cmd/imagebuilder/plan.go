package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/printable"
	"imagebuilder/runtime"
)

// A plan as text. Its order and its words are those of the recipe.

func newPlanCommand() *cobra.Command {
	var recipe recipeOptions
	var cache cacheOptions
	var asJSON, resolve bool
	cmd := &cobra.Command{
		Use:   "plan RECIPE",
		Short: "Show what a recipe would do",
		Long: `Show every step that a recipe would do, in order, with its arguments. Nothing is
downloaded, changed or written, and it needs no root. What only the build itself can
know is assumed, and said: a file in the image that the recipe asks for exists, and is
empty; on the network, the first thing asked for is there, under a name that is not known
yet. With --resolve, the network is asked, and the plan has the names, digests and sizes
that a build would find now.`,
		Example: `  imagebuilder plan debian -o release=trixie
  imagebuilder plan ./my.star --resolve --json`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := recipe.load(cmd, args[0], logOptions{})
			if err != nil {
				return err
			}
			log := logOptions{}.logger(cmd.ErrOrStderr())
			plan := r.Plan
			if resolve {
				dir, err := cache.directory()
				if err != nil {
					return err
				}
				plan = func() (*build.Planner, error) {
					return r.Resolve(runtime.BuildOptions{Cache: dir, Offline: librariesOf(cmd).Offline, Store: layer.Options{MaxSize: cache.maxSize()}, Log: log})
				}
			}
			planner, err := plan()
			if err != nil {
				if planner != nil && planner.Unresolved() {
					log.Warn("what is on the network was assumed, which may be why this goes wrong: plan --resolve asks it")
				}
				return err
			}
			if said := planner.Assumptions(); said != "" {
				log.Warn(said)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), planner.Steps)
			}
			for i, step := range planner.Steps {
				printStep(cmd.OutOrStdout(), i+1, step)
			}
			return nil
		},
	}
	recipe.addFlags(cmd)
	recipe.addToolFlag(cmd)
	addOfflineFlag(cmd)
	cache.addFlags(cmd)
	behindDoor(cmd, "resolve")
	cmd.Flags().BoolVar(&resolve, "resolve", false, "ask the network what it has")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// printStep prints a step and, below it, its arguments as the engine sees them: what is not
// there has no part in what the step is known by.
func printStep(w io.Writer, n int, step build.PlannedStep) {
	fmt.Fprintf(w, "%d. %s", n, step.Builtin)
	if step.Rootfs != "" {
		fmt.Fprintf(w, " <rootfs %s>", printable.Line(strings.TrimSpace(step.Rootfs+" "+step.Target)))
	}
	if step.Label != "" {
		fmt.Fprintf(w, ", for %s", printable.Line(step.Label))
	}
	if step.At != "" {
		fmt.Fprintf(w, "  # %s", printable.Line(step.At))
	}
	fmt.Fprintln(w)
	for _, arg := range step.Args {
		text := planText(arg.Value)
		if args, ok := arg.Value.([]string); ok && (arg.Name == "script" || arg.Name == "command") {
			text = host.Quote(args)
		}
		fmt.Fprintf(w, "   %s = %s\n", printable.Line(arg.Name), printable.Text(text))
	}
}

// planText prints a value on one line, but text of several lines as it is and each of
// several commands on a line of its own.
func planText(v any) string {
	switch v := v.(type) {
	case string:
		if text := strings.TrimSuffix(v, "\n"); strings.Contains(text, "\n") {
			return block(text)
		}
	case []any:
		lines := make([]string, len(v))
		for i, one := range v {
			lines[i] = planText(one)
			if args, ok := one.([]string); ok {
				lines[i] = host.Quote(args)
			}
		}
		return block(strings.Join(lines, "\n"))
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// block indents a text as a value of several lines.
func block(text string) string {
	return "|\n      " + strings.ReplaceAll(text, "\n", "\n      ")
}
