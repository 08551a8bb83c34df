package runtime

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarktest"

	"imagebuilder/builtins/build"
)

func testConfig() Config {
	return Config{
		Now:     time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Machine: "x86_64",
		Stdin:   strings.NewReader(""),
	}
}

// TestStarlark plans the files of testdata, whose main functions test the language and
// the standard library with the functions of assert (see package starlarktest).
func TestStarlark(t *testing.T) {
	files, err := filepath.Glob("testdata/*.star")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	assert, err := starlarktest.LoadAssertModule()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			planner, err := planWith(file, assert, t)
			if err != nil {
				t.Fatal(Explain(err))
			}
			if len(planner.Steps) == 0 && strings.Contains(file, "steps") {
				t.Error("no step was planned")
			}
		})
	}
}

// planWith plans a recipe that has further words.
func planWith(file string, words starlark.StringDict, t *testing.T) (*build.Planner, error) {
	r := newRecipe(context.Background(), file, testConfig())
	m, _, err := r.loader.main(file, io.LimitReader(nil, 0))
	if err != nil {
		return nil, err
	}
	if err := r.loadPrelude(); err != nil {
		return nil, err
	}
	for name, v := range words {
		r.loader.words[name] = v
	}
	r.loader.words["steps"] = starlark.NewBuiltin("steps", func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
		return r.planned(), nil
	})
	globals, err := r.loader.load(m)
	if err != nil {
		return nil, r.explain(err)
	}
	if err := r.finish(m, globals); err != nil {
		return nil, err
	}
	planner := new(build.Planner)
	r.words.Worker = planner
	thread, done := r.loader.thread("main")
	defer done()
	starlarktest.SetReporter(thread, t)
	return planner, r.explain(r.words.Run(thread, r.entry))
}

// planned returns what was planned so far as strings, one a step.
func (r *Recipe) planned() starlark.Value {
	var list []starlark.Value
	for _, s := range r.words.Worker.(*build.Planner).Steps {
		args, err := s.Args.MarshalJSON()
		if err != nil {
			args = []byte(err.Error())
		}
		text := strings.NewReplacer("\n", "", `\n`, "~").Replace(string(args))
		list = append(list, starlark.String(s.Builtin+" "+text))
	}
	return starlark.NewList(list)
}
