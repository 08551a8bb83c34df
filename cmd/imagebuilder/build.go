package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
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

// buildOptions are the flags of all commands that build.
type buildOptions struct {
	cache   cacheOptions
	log     logOptions
	explain bool
	store   layer.Options
	sources *builtins.Sources
}

func (o *buildOptions) addFlags(cmd *cobra.Command) {
	o.cache.addFlags(cmd)
	o.log.addFlags(cmd)
	cmd.Flags().BoolVar(&o.explain, "explain", false, "say for each step that is done why it was not in the cache")
	cmd.Flags().BoolVar(&o.store.NoCache, "no-cache", false, "do every step anew")
	cmd.Flags().BoolVar(&o.store.Refresh, "refresh", false, "do every step anew that reads the network, and what follows it")
	cmd.Flags().BoolVar(&o.store.NoOverlay, "disable-overlay", false, "work on plain copies instead of overlayfs, without reuse")
}

// seconds is the duration of so many seconds, or the longest that there is.
func seconds(n uint) timeLimit {
	return timeLimit(min(n, math.MaxInt64/uint(time.Second))) * timeLimit(time.Second)
}

// checkAndBuild runs a recipe after all that can be known before is known to be right.
func (o *buildOptions) checkAndBuild(cmd *cobra.Command, recipe *runtime.Recipe, target string) error {
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

func (o *buildOptions) build(cmd *cobra.Command, recipe *runtime.Recipe, target string) (err error) {
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
	defer func() { err = errors.Join(err, o.sources.Close(), store.Close()) }()
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
		Sources: o.sources,
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
