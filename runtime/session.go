package runtime

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"imagebuilder/builtins/build"
)

// Recipes that are said one statement at a time.

// spoken is the language of a session: names can be bound again there, and what is loaded
// stays.
var spoken = &syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true, LoadBindsGlobally: true}

// sessionFile is what places in the text of a session are called.
const sessionFile = "<session>"

// A Session evaluates statements with the words of recipes. They plan: nothing is done to
// anything.
type Session struct {
	recipe  *Recipe
	planner *build.Planner
	globals starlark.StringDict
	shown   int // steps that Eval has returned already
}

// SessionOptions say with what a session begins.
type SessionOptions struct {
	Recipe string                  // file or name of a recipe whose names it has; "": none
	Config Config                  // how that is evaluated
	Print  func(text string)       // gets what print says
	Help   func(name string) error // prints the documentation of a word
}

// NewSession loads a recipe, if there is one, and begins a session that has its names.
func NewSession(ctx context.Context, o SessionOptions) (*Session, error) {
	r := newRecipe(ctx, sessionFile, o.Config)
	r.loader.print = func(_, text string) { o.Print(text) }
	s := &Session{recipe: r, planner: new(build.Planner)}
	var m module
	var text []byte
	lib, err := r.loader.open(".")
	if err == nil && o.Recipe != "" {
		if m, text, err = r.loader.main(o.Recipe, o.Config.Stdin); err == nil && m.lib.dir != "" {
			lib = m.lib
		}
	}
	if err != nil {
		return nil, err
	}
	if err := r.loadPrelude(); err != nil {
		return nil, err
	}
	for name := range r.loader.later {
		if _, err := r.loader.has(name); err != nil {
			return nil, r.explain(err)
		}
	}
	s.globals = maps.Clone(r.loader.words)
	if o.Recipe != "" {
		names, err := s.load(m, text)
		if err != nil {
			return nil, r.explain(err)
		}
		maps.Copy(s.globals, names)
	}
	r.options.closed = true
	if err := r.options.unknown(); err != nil {
		return nil, err
	}
	s.globals["help"] = starlark.NewBuiltin("help", helpWord(o.Help))
	r.loader.sources[sessionFile] = module{lib, sessionFile}
	return s, nil
}

// load evaluates the recipe of a session; text is nil where its library has it.
func (s *Session) load(m module, text []byte) (starlark.StringDict, error) {
	if text == nil {
		return s.recipe.loader.load(m)
	}
	return s.recipe.loader.exec(m, string(text))
}

// helpWord is the word that prints the documentation of a word, given itself or its name.
func helpWord(help func(name string) error) func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
	return func(_ *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var what starlark.Value
		if err := starlark.UnpackArgs(fn.Name(), args, kwargs, "word", &what); err != nil {
			return nil, err
		}
		name, ok := starlark.AsString(what)
		if f, isFunction := what.(starlark.Callable); isFunction {
			name, ok = f.Name(), true
		}
		if !ok {
			return nil, fmt.Errorf("got a %s, want a word or its name", what.Type())
		}
		return starlark.None, help(name)
	}
}

// Eval reads a statement, which goes on to an empty line if it is one of several, and
// evaluates it. It returns the value of an expression, "" for None, and the steps that it has
// planned, also if there is an error. An error of readline is returned as it is.
func (s *Session) Eval(readline func() (string, error)) (value string, steps []build.PlannedStep, err error) {
	var text strings.Builder
	var unread error
	file, err := spoken.ParseCompoundStmt(sessionFile, func() ([]byte, error) {
		line, err := readline()
		if err != nil {
			unread = err
			return nil, err
		}
		text.WriteString(line + "\n")
		return []byte(line + "\n"), nil
	})
	if unread != nil {
		return "", nil, unread
	}
	s.recipe.loader.texts[sessionFile] = text.String()
	if err != nil {
		return "", nil, s.recipe.explain(err)
	}
	r := s.recipe
	r.words.Worker = s.planner
	thread, done := r.loader.thread(sessionFile)
	defer done()
	err = r.words.Run(thread, starlark.NewBuiltin("session", func(thread *starlark.Thread, _ *starlark.Builtin, _ starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
		value, err = s.eval(thread, file)
		return starlark.None, err
	}))
	steps = s.planner.Steps[s.shown:]
	s.shown = len(s.planner.Steps)
	return value, steps, r.explain(ended(r.loader.ctx, err))
}

func (s *Session) eval(thread *starlark.Thread, file *syntax.File) (string, error) {
	if len(file.Stmts) == 1 {
		if stmt, ok := file.Stmts[0].(*syntax.ExprStmt); ok {
			v, err := starlark.EvalExprOptions(spoken, thread, stmt.X, s.globals)
			if err != nil || v == starlark.None {
				return "", err
			}
			s.globals["_"] = v
			return v.String(), nil
		}
	}
	return "", starlark.ExecREPLChunk(file, thread, s.globals)
}

// Complete returns the words that begin so, or of NAME.BEGUN the attributes of what NAME means,
// each as a whole.
func (s *Session) Complete(begun string) []string {
	owner, member := "", begun
	names := slices.Concat(s.globals.Keys(), starlark.Universe.Keys(), []string{"def", "load"})
	if i := strings.LastIndex(begun, "."); i >= 0 {
		owner, member, names = begun[:i+1], begun[i+1:], attributesOf(s.globals, begun[:i])
	}
	var found []string
	for _, name := range names {
		if strings.HasPrefix(name, member) && (member != "" || name[0] != '_') {
			found = append(found, owner+name)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// attributesOf are the attributes of what a dotted name means, without evaluating anything.
func attributesOf(globals starlark.StringDict, name string) []string {
	first, rest, more := strings.Cut(name, ".")
	v := globals[first]
	for more {
		has, ok := v.(starlark.HasAttrs)
		if !ok {
			return nil
		}
		first, rest, more = strings.Cut(rest, ".")
		v, _ = has.Attr(first)
	}
	if has, ok := v.(starlark.HasAttrs); ok && v != nil {
		return has.AttrNames()
	}
	return nil
}
