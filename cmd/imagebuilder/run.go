package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/runtime"
)

type runOptions struct {
	recipe  recipeOptions
	cache   cacheOptions
	log     logOptions
	timeout time.Duration
	explain bool
	store   layer.Options
}

func newRunCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run RECIPE [TARGET_DIR]",
		Short: "Run a recipe",
		Long: `Run a recipe and leave what it packs in TARGET_DIR, by default the current directory.
RECIPE is the path of a file, - for standard input, or the name of a recipe that comes
with the tool (see 'imagebuilder recipes'). The paths of the results are printed.

'imagebuilder run RECIPE --help' lists the options of the recipe.`,
		Example: `  imagebuilder run debian out -o release=bookworm
  imagebuilder run ./my.star --explain`,
		Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			target := "."
			if len(args) == 2 {
				target = args[1]
			}
			return o.run(cmd, args[0], target)
		},
	}
	o.recipe.addFlags(cmd)
	o.cache.addFlags(cmd)
	o.log.addFlags(cmd)
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "end the run after this `duration`, such as 90s or 2h")
	cmd.Flags().BoolVar(&o.explain, "explain", false, "say for each step that is done why it was not in the cache")
	cmd.Flags().BoolVar(&o.store.NoCache, "no-cache", false, "do every step anew")
	cmd.Flags().BoolVar(&o.store.Refresh, "refresh", false, "do every step anew that reads the network, and what follows it")
	cmd.Flags().BoolVar(&o.store.NoOverlay, "disable-overlay", false, "work on plain copies instead of overlayfs, without reuse")
	help := cmd.HelpFunc()
	cmd.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		help(cmd, args)
		o.helpRecipe(cmd)
	})
	return cmd
}

// helpRecipe prints the options of the recipe that --help stands behind, if there is one.
func (o *runOptions) helpRecipe(cmd *cobra.Command) {
	if cmd.Flags().NArg() == 0 {
		return
	}
	cmd.SetContext(context.Background())
	recipe, err := (&recipeOptions{}).load(cmd, cmd.Flags().Arg(0), o.log)
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "\n%s", runtime.Explain(err))
		return
	}
	fmt.Fprintf(cmd.OutOrStdout(), "\nRecipe %s: %s\n\nOptions:\n", recipe.Name, recipe.Doc)
	printOptions(cmd.OutOrStdout(), recipe.Options())
}

func (o *runOptions) run(cmd *cobra.Command, name, target string) error {
	if o.timeout > 0 {
		ctx, cancel := context.WithTimeoutCause(cmd.Context(), o.timeout, fmt.Errorf("timed out after %v", o.timeout))
		defer cancel()
		cmd.SetContext(ctx)
	}
	recipe, err := o.recipe.load(cmd, name, o.log)
	if err != nil {
		return err
	}
	planner, err := recipe.Check()
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("a build needs root, for mounts, owners and device nodes: run it with sudo")
	}
	if missing := planner.Missing(); len(missing) > 0 {
		return errors.Join(missing...)
	}
	return o.build(cmd, recipe, target)
}

// build runs a recipe that was checked.
func (o *runOptions) build(cmd *cobra.Command, recipe *runtime.Recipe, target string) (err error) {
	display := o.log.newDisplay(cmd.ErrOrStderr())
	defer display.Close()
	clock, err := host.NewClock(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}
	o.store.Clock, o.store.Log = clock, display.log
	store, err := o.cache.open(o.store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := store.CheckOverlay(cmd.Context()); err != nil {
		return err
	}
	worker := &builtins.Builder{
		Store:   store,
		Fetch:   &fetch.Client{Store: store, Log: display.log, Progress: display.progress},
		Clock:   clock,
		Log:     display.log,
		Target:  target,
		LogDir:  store.Logs(),
		History: store.History(recipeID(recipe.Name)),
		Explain: o.explain,
	}
	if err := recipe.Run(worker, display.log); err != nil {
		return err
	}
	display.Close()
	printResults(cmd.OutOrStdout(), worker.Results)
	return worker.History.Save()
}

// recipeID names the history of a recipe.
func recipeID(name string) string {
	if strings.ContainsAny(name, "/.") {
		if abs, err := filepath.Abs(name); err == nil {
			name = abs
		}
	}
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

func printResults(w io.Writer, files []string) {
	for _, f := range files {
		fmt.Fprintln(w, f)
	}
}
