package runtime

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
)

// Tests of recipes: functions of files of their own, that plan instead of doing. The words
// that only they have are in testwords.go.

// TestOptions say how the tests of a file are run.
type TestOptions struct {
	Run    *regexp.Regexp // names of the functions that are run; nil: all are
	Update bool           // golden files are written, not compared
	Config Config         // Options are not for tests: plan gives them
}

// TestConfig is how recipes are evaluated in tests: at the same time and on the same machine,
// wherever they run, so that what they plan is always the same.
func TestConfig() Config {
	return Config{Now: time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), Machine: "x86_64", Stdin: strings.NewReader("")}
}

// A TestResult is what became of one test.
type TestResult struct {
	Name string
	Took time.Duration
	Err  error // nil: it has passed
}

// RunTests loads a file and runs its functions test_*, in the order of their names, each with
// a planner of its own. The error is of the file: it cannot be loaded.
func RunTests(ctx context.Context, file string, o TestOptions) ([]TestResult, error) {
	r := newRecipe(ctx, file, o.Config)
	m, text, err := r.loader.main(file, o.Config.Stdin)
	if err != nil {
		return nil, err
	}
	if err := r.loadPrelude(); err != nil {
		return nil, err
	}
	t := &testFile{recipe: r, options: o}
	for name, word := range t.words() {
		r.loader.words[name] = word
	}
	globals, err := r.loader.exec(m, string(text))
	if err != nil {
		return nil, r.explain(err)
	}
	r.options.closed = true
	names := slices.DeleteFunc(globals.Keys(), func(name string) bool {
		_, ok := globals[name].(*starlark.Function)
		return !ok || !strings.HasPrefix(name, "test_") || o.Run != nil && !o.Run.MatchString(name)
	})
	var results []TestResult
	for _, name := range names { // in order already
		start := time.Now()
		r.entry = globals[name]
		err := r.PlanOn(newTestPlanner(nil))
		results = append(results, TestResult{name, time.Since(start), err})
		if ctx.Err() != nil {
			break
		}
	}
	return results, nil
}

// newTestPlanner returns a planner that is given answers, and to which no machine lacks a thing.
func newTestPlanner(answers map[string]any) *build.Planner {
	return &build.Planner{Given: answers, Has: func(string) bool { return true }}
}
