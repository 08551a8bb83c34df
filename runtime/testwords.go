package runtime

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	starlarkjson "go.starlark.net/lib/json"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"imagebuilder/builtins"
	"imagebuilder/builtins/build"
)

// The words that files of tests have besides those of recipes.

// A testFile is one file of tests while they run.
type testFile struct {
	recipe  *Recipe
	options TestOptions
}

type word = func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error)

func (t *testFile) words() starlark.StringDict {
	asserts := make(starlark.StringDict)
	for name, do := range map[string]word{
		"contains": assertContains,
		"eq":       assertEq,
		"fails":    assertFails,
		"golden":   t.assertGolden,
		"true":     assertTrue,
	} {
		asserts[name] = starlark.NewBuiltin("assert."+name, do)
	}
	return starlark.StringDict{
		"plan":   starlark.NewBuiltin("plan", t.plan),
		"assert": starlarkstruct.FromStringDict(starlark.String("assert"), asserts),
	}
}

// testWords are the names of the words of tests, as the reference has them.
var testWords = []string{"assert.contains", "assert.eq", "assert.fails", "assert.golden", "assert.true", "plan"}

//go:embed testwords.go
var testWordsSource []byte

// plan(recipe, options={}, answers={}) returns the steps that a recipe would do, without
// doing them: a list of values with builtin, args (a dict), rootfs, target and at, the place
// in the recipe; str of one is the builtin and its arguments. recipe is a function, such as
// the main of a file that was loaded, or the path of a recipe beside the test, or the name of
// one that comes with the tool; options, a dict of strings, are for those. answers says what
// an image or the network answers, by what is asked and of what: {"read /etc/os-release":
// "ID=debian", "exists /boot": False, "glob /boot/vmlinuz-*": ["/boot/vmlinuz-1"]}: text for
// a file, None or False if there is none, a list for paths and links; a
// dict for what has fields, such as windows_medium. What it does not name is assumed, as in all
// plans. An answer that nothing asks for is an error.
//
// Example:
//
//	load("my.star", "main")
//
//	def test_motd():
//	    steps = plan(main, answers = {"exists /etc/motd": False})
//	    assert.contains(steps, "Welcome")
func (t *testFile) plan(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var recipe starlark.Value
	var options, answers *starlark.Dict
	if err := starlark.UnpackArgs(fn.Name(), args, kwargs, "recipe", &recipe, "options?", &options, "answers?", &answers); err != nil {
		return nil, err
	}
	given, err := plainDict("answers", answers)
	if err != nil {
		return nil, err
	}
	planner := newTestPlanner(given)
	switch recipe := recipe.(type) {
	case starlark.Callable:
		if options != nil {
			return nil, errors.New("a function takes no options; give plan the path of its recipe")
		}
		words := t.recipe.words
		before := words.Worker
		words.Worker = planner
		_, err = starlark.Call(thread, recipe, nil, nil)
		words.Worker = before
	case starlark.String:
		err = t.planFile(thread, string(recipe), options, planner)
	default:
		return nil, fmt.Errorf("recipe is a %s, want a function or a path", recipe.Type())
	}
	if err != nil {
		return nil, err
	}
	if unasked := planner.Unasked(); len(unasked) > 0 {
		return nil, fmt.Errorf("nothing asks for the answer to %q%s", unasked[0], asked(planner, unasked[0]))
	}
	return plannedSteps(thread, planner)
}

// asked says what a plan asks for instead of something.
func asked(planner *build.Planner, name string) string {
	var names []string
	for _, a := range planner.Answers {
		if !slices.Contains(names, a.Name()) {
			names = append(names, a.Name())
		}
	}
	if near := builtins.Nearest(name, names); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("; asked is %q", names[:min(len(names), 5)])
}

// planFile plans a recipe by its name.
func (t *testFile) planFile(thread *starlark.Thread, name string, options *starlark.Dict, planner *build.Planner) error {
	config := t.options.Config
	config.Options = make(Given)
	plain, err := plainDict("options", options)
	if err != nil {
		return err
	}
	for key, value := range plain {
		config.Options.Set(key, fmt.Sprint(value))
	}
	if !isName(name) {
		if name, err = t.recipe.loader.locate(thread.CallFrame(1).Pos.Filename(), name); err != nil {
			return err
		}
	}
	r, err := Load(t.recipe.loader.ctx, name, config)
	if err == nil {
		err = r.PlanOn(planner)
	}
	if err != nil {
		return fmt.Errorf("cannot plan %s: %w", name, err)
	}
	return nil
}

func plainDict(what string, d *starlark.Dict) (map[string]any, error) {
	if d == nil {
		return nil, nil
	}
	if err := builtins.CheckNesting(d); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	plain, ok := builtins.ToPlain(d).(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: its keys must be strings", what)
	}
	return plain, nil
}

// A plannedStep is a step that prints what it is, not where.
type plannedStep struct {
	*starlarkstruct.Struct
	text string
}

func (s plannedStep) String() string { return s.text }

func plannedSteps(thread *starlark.Thread, planner *build.Planner) (starlark.Value, error) {
	var steps []starlark.Value
	for _, s := range planner.Steps {
		text, err := s.Args.MarshalJSON()
		if err != nil {
			return nil, err
		}
		text = bytes.ReplaceAll(text, []byte("\n"), nil)
		args, err := starlark.Call(thread, starlarkjson.Module.Members["decode"], starlark.Tuple{starlark.String(text)}, nil)
		if err != nil {
			return nil, err
		}
		steps = append(steps, plannedStep{starlarkstruct.FromStringDict(starlarkstruct.Default, starlark.StringDict{
			"builtin": starlark.String(s.Builtin),
			"args":    args,
			"rootfs":  starlark.String(s.Rootfs),
			"target":  starlark.String(s.Target),
			"at":      starlark.String(s.At),
		}), s.Builtin + " " + string(text)})
	}
	return starlark.NewList(steps), nil
}

// assert.eq(got, want) fails the test if two values are not equal, and shows in what they
// differ.
//
// Example:
//
//	steps = plan("my.star")
//	assert.eq([s.builtin for s in steps], ["mountpoints", "chroot_run"])
func assertEq(_ *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var got, want starlark.Value
	if err := starlark.UnpackArgs(fn.Name(), args, kwargs, "got", &got, "want", &want); err != nil {
		return nil, err
	}
	equal, err := starlark.Equal(got, want)
	if err != nil || equal {
		return starlark.None, err
	}
	return nil, differs(got, want)
}

// differs says in what two values differ: short ones are shown, of others the lines.
func differs(got, want starlark.Value) error {
	if text := fmt.Sprintf("got %s, want %s", got, want); len(text) < 100 || got.Type() != want.Type() {
		return errors.New(text)
	}
	return fmt.Errorf("got what is marked by +, want what is marked by -\n%s", changedLines(lined(want), lined(got)))
}

// changedLines are the lines in which texts differ, with what is around them.
func changedLines(want, got string) string {
	text := string(diff.Diff("want", []byte(want), "got", []byte(got)))
	if _, rest, ok := strings.Cut(text, "\n@@"); ok { // behind the names
		text = "@@" + rest
	}
	return strings.TrimSuffix(text, "\n")
}

// lined prints a value with each of its elements on a line of its own.
func lined(v starlark.Value) string {
	var b strings.Builder
	switch v := v.(type) {
	case starlark.String:
		return string(v)
	case starlark.IterableMapping:
		for _, item := range v.Items() {
			fmt.Fprintf(&b, "%s: %s\n", item[0], item[1])
		}
	case starlark.Indexable:
		for i := range v.Len() {
			fmt.Fprintln(&b, v.Index(i))
		}
	default:
		return v.String() + "\n"
	}
	return b.String()
}

// assert.true(condition, message="") fails the test if the condition is not true.
//
// Example:
//
//	steps = plan("my.star")
//	assert.true(len(steps) < 10, "it does too much")
func assertTrue(_ *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var condition starlark.Value
	message := "it is not true"
	if err := starlark.UnpackArgs(fn.Name(), args, kwargs, "condition", &condition, "message?", &message); err != nil {
		return nil, err
	}
	if !condition.Truth() {
		return nil, fmt.Errorf("%s: got %s", message, condition)
	}
	return starlark.None, nil
}

// assert.contains(container, part) fails the test if a text has no such part, or a list, dict
// or set no such element. Of a list of steps, the text of one has to contain the part.
//
// Example:
//
//	steps = plan("my.star", options = {"release": "bookworm"})
//	assert.contains(steps, "openssh-server")
func assertContains(_ *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var container, part starlark.Value
	if err := starlark.UnpackArgs(fn.Name(), args, kwargs, "container", &container, "part", &part); err != nil {
		return nil, err
	}
	text, isText := part.(starlark.String)
	list, isList := container.(*starlark.List)
	if isText && isList {
		for i := range list.Len() {
			if step, ok := list.Index(i).(plannedStep); ok && strings.Contains(step.text, string(text)) {
				return starlark.None, nil
			}
		}
	}
	iterable, ok := container.(starlark.Iterable)
	switch whole, isString := container.(starlark.String); {
	case isString && isText:
		if strings.Contains(string(whole), string(text)) {
			return starlark.None, nil
		}
	case ok:
		for v := range starlark.Elements(iterable) {
			if equal, err := starlark.Equal(v, part); err != nil || equal {
				return starlark.None, err
			}
		}
	default:
		return nil, fmt.Errorf("a %s does not contain a %s", container.Type(), part.Type())
	}
	return nil, fmt.Errorf("%s is not in:\n%s", part, strings.TrimSuffix(lined(container), "\n"))
}

// assert.fails(f, pattern) calls a function, and fails the test unless that fails with an
// error that the RE2 pattern matches; it returns the text of the error.
//
// Example:
//
//	assert.fails(lambda: plan("my.star", options = {"release": "potato"}), "is none of")
func assertFails(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var f starlark.Callable
	var pattern string
	if err := starlark.UnpackArgs(fn.Name(), args, kwargs, "f", &f, "pattern", &pattern); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	_, failed := starlark.Call(thread, f, nil, nil)
	if failed == nil {
		return nil, fmt.Errorf("%s has not failed, want an error that matches %q", f.Name(), pattern)
	}
	if ctx := builtins.Context(thread); ctx.Err() != nil {
		return nil, failed
	}
	if !re.MatchString(failed.Error()) {
		return nil, fmt.Errorf("got the error %q, want one that matches %q", failed, pattern)
	}
	return starlark.String(failed.Error()), nil
}

// assert.golden(value, file) fails the test if the text of a value is not that of a file,
// whose path is relative to that of the test: a text as it is, of a list, such as the steps of
// a plan, an element a line. imagebuilder test --update writes the file.
//
// Example:
//
//	assert.golden(plan("my.star"), "my.golden")
func (t *testFile) assertGolden(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var value starlark.Value
	var name string
	if err := starlark.UnpackArgs(fn.Name(), args, kwargs, "value", &value, "file", &name); err != nil {
		return nil, err
	}
	if !filepath.IsLocal(name) {
		return nil, fmt.Errorf("%s is not below the directory of the test", name)
	}
	if from := thread.CallFrame(1).Pos.Filename(); t.recipe.loader.isForeign(from) {
		return nil, fmt.Errorf("%s is of a library, whose files are not to be written", from)
	}
	file, err := t.recipe.loader.locate(thread.CallFrame(1).Pos.Filename(), path.Clean(name))
	if err != nil {
		return nil, err
	}
	got := lined(value)
	if t.options.Update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		return starlark.None, os.WriteFile(file, []byte(got), 0o644)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w; --update writes it", err)
	}
	if string(want) != got {
		return nil, fmt.Errorf("it differs from %s, which --update writes anew:\n%s", name, changedLines(string(want), got))
	}
	return starlark.None, nil
}
