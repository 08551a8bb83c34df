package runtime

import (
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"imagebuilder/builtins"
)

// The functions of the standard library as the files of others have them: what is wrong with a
// call is said of the call, as of those of Go, not of what it leads to inside.

// A checked function looks at its arguments before it is called.
type checked struct{ *starlark.Function }

// Position implements what the interpreter asks of a frame: this one is in the standard library,
// at no line.
func (c *checked) Position() syntax.Position { return syntax.MakePosition(&nowhere, 0, 0) }

var nowhere = "@stdlib//"

// CallInternal implements starlark.Callable.
func (c *checked) CallInternal(thread *starlark.Thread, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := c.check(args, kwargs); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name(), err)
	}
	return starlark.Call(thread, c.Function, args, kwargs)
}

func (c *checked) check(args starlark.Tuple, kwargs []starlark.Tuple) error {
	names := parameterNames(c.Function)
	positional := len(names) - c.NumKwonlyParams()
	if len(args) > positional && !c.HasVarargs() {
		return builtins.Misuse{Err: fmt.Errorf("got %d arguments without a name, want at most %d", len(args), positional)}
	}
	given := make(map[string]bool)
	for i, v := range args[:min(len(args), positional)] {
		given[names[i]] = true
		if err := c.checkValue(i, v); err != nil {
			return err
		}
	}
	for _, kwarg := range kwargs {
		name := string(kwarg[0].(starlark.String))
		i := slices.Index(names, name)
		if i < 0 && !c.HasKwargs() {
			return builtins.Misuse{Err: builtins.UnknownArgument(name, names)}
		}
		if i < 0 {
			continue
		}
		given[name] = true
		if err := c.checkValue(i, kwarg[1]); err != nil {
			return err
		}
	}
	for i, name := range names {
		if c.ParamDefault(i) == nil && !given[name] {
			return builtins.Misuse{Err: fmt.Errorf("missing argument for %s", name)}
		}
	}
	return nil
}

// parameterNames are those of the parameters that can be given by name.
func parameterNames(f *starlark.Function) []string {
	count := f.NumParams()
	if f.HasKwargs() {
		count--
	}
	if f.HasVarargs() {
		count--
	}
	names := make([]string, count)
	for i := range names {
		names[i], _ = f.Param(i)
	}
	return names
}

// checkValue holds that a value is of a type that its parameter takes.
func (c *checked) checkValue(i int, v starlark.Value) error {
	name, _ := c.Param(i)
	types := parameterTypes(name, c.ParamDefault(i))
	if len(types) == 0 || slices.Contains(types, v.Type()) {
		return nil
	}
	return builtins.BadArgument(fmt.Errorf("for parameter %s: got %s, want %s", name, v.Type(), types[0]), v)
}

// named are the types of parameters that are called the same everywhere, the usual one first.
var named = map[string][]string{
	"content":      {"string", "bytes"},
	"distribution": {"string"},
	"img":          {"image"},
	"name":         {"string"},
	"packages":     {"list"},
	"path":         {"string"},
	"root":         {"rootfs"},
	"url":          {"string", "file"}, // of a source that can take what is here
}

// parameterTypes are the types that a parameter takes, as far as its name or its default tells
// that.
func parameterTypes(name string, def starlark.Value) []string {
	types := named[name]
	if def == nil {
		return types
	}
	switch kind := def.Type(); kind {
	case "string", "bool", "list", "dict", "int", "float":
		if !slices.Contains(types, kind) {
			return []string{kind}
		}
	}
	return types
}

// functionOf returns the function that a value is.
func functionOf(v starlark.Value) (*starlark.Function, bool) {
	if c, ok := v.(*checked); ok {
		return c.Function, true
	}
	f, ok := v.(*starlark.Function)
	return f, ok
}

// checkedWords are globals of the standard library for the files of others.
func (l *loader) checkedWords(globals starlark.StringDict) starlark.StringDict {
	words := make(starlark.StringDict, len(globals))
	for name, v := range globals {
		words[name] = l.checkedWord(v)
	}
	return words
}

// checkedWord is one of them: the same value each time, since files compare what they load.
func (l *loader) checkedWord(v starlark.Value) starlark.Value {
	f, ok := v.(*starlark.Function)
	if !ok || !strings.HasPrefix(f.Position().Filename(), nowhere) {
		return v
	}
	if l.checked[f] == nil {
		l.checked[f] = &checked{f}
	}
	return l.checked[f]
}
