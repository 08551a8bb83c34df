package sources_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/build"
	"imagebuilder/runtime"
)

// Recipes as a user runs them.

// A built is what a run has left.
type built struct {
	dir string // the tree
	log string // what was said
}

// run builds a recipe in a store of its own; see runIn.
func run(t *testing.T, recipe string) (built, error) {
	t.Helper()
	return runIn(t, t.TempDir(), recipe)
}

// runIn builds a recipe, the text of a file in which a call of the function made returns a
// rootfs, with a sandbox. It returns the tree of that, or the error as a user sees it.
func runIn(t *testing.T, store, recipe string) (built, error) {
	t.Helper()
	return runWith(t, runtime.BuildOptions{Cache: store}, recipe)
}

// runWith is runIn with other options.
func runWith(t *testing.T, o runtime.BuildOptions, recipe string) (built, error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts and owners")
	}
	r, err := load(recipe)
	if err != nil {
		return built{}, err
	}
	var log bytes.Buffer
	out := t.TempDir()
	o.Target, o.Log = out, slog.New(slog.NewTextHandler(&log, nil))
	_, err = r.Build(o)
	if err != nil {
		return built{log: log.String()}, errors.New(runtime.Explain(err))
	}
	return built{filepath.Join(out, "tree"), log.String()}, nil
}

// plan returns the steps of a recipe like those of run as JSON, one a line.
func plan(t *testing.T, recipe string) (string, error) {
	t.Helper()
	r, err := load(recipe)
	if err != nil {
		return "", err
	}
	planner := &build.Planner{Has: func(string) bool { return true }}
	if err := r.PlanOn(planner); err != nil {
		return "", errors.New(runtime.Explain(err))
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, step := range planner.Steps {
		must(enc.Encode(step))
	}
	return b.String(), nil
}

func load(recipe string) (*runtime.Recipe, error) {
	text := recipe + "\ndef main():\n    export(made(), \"tree\")\n"
	r, err := runtime.LoadText(context.Background(), "test.star", text, runtime.Config{
		Now:     time.Date(2026, 10, 20, 10, 0, 0, 0, time.UTC),
		Machine: "x86_64",
		Stdin:   strings.NewReader(""),
	})
	if err != nil {
		return nil, errors.New(runtime.Explain(err))
	}
	return r, nil
}
