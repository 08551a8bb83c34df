package builtins

import (
	"fmt"
	"slices"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/options"
)

// Options that the command line has as well are said in tables of package options. Here they
// become arguments of words.

// An optionTable is the options of one word.
type optionTable interface {
	Settings() []*options.Setting
	Check() error
}

// argumentOf is an option as unpackArgs takes it.
func argumentOf(s *options.Setting) (name string, to any) {
	name, to = s.Name+"?", s.To
	switch t := s.To.(type) {
	case *float64:
		to = (*floatArg)(t)
	case *options.Opposite:
		to = (*oppositeArg)(t)
	case *[]string:
		to = (*stringList)(t)
	case *options.Paragraphs:
		to = (*stringList)(t)
	case options.Textual:
		to = &textArg{s}
	}
	return name, to
}

// argumentsOf are the options of a table as unpackArgs takes them, between others.
func argumentsOf(first []any, table optionTable, others ...any) []any {
	for _, s := range table.Settings() {
		name, to := argumentOf(s)
		first = append(first, name, to)
	}
	return append(first, others...)
}

// checkOptions finds what is wrong with the options of a call, some of which were given.
func checkOptions(fn *starlark.Builtin, table optionTable, args starlark.Tuple, kwargs []starlark.Tuple, given build.Args) error {
	for _, a := range given {
		markGiven(table.Settings(), "", a.Name, a.Value == nil)
	}
	err := table.Check()
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", fn.Name(), err)
	if slices.ContainsFunc(args, isBare) || slices.ContainsFunc(kwargs, func(kwarg starlark.Tuple) bool { return isBare(kwarg[1]) }) {
		return err // of what a plan has assumed, perhaps
	}
	return Misuse{err}
}

// namedArgs are the arguments of a call that were given by name.
func namedArgs(kwargs []starlark.Tuple) build.Args {
	var given build.Args
	for _, kwarg := range kwargs {
		name, _ := starlark.AsString(kwarg[0])
		given = append(given, arg(name, kwarg[1]))
	}
	return given
}

// markGiven notes that an option was said; None says nothing.
func markGiven(settings []*options.Setting, of, name string, none bool) {
	for _, s := range settings {
		if s.Name == name && s.Of == of && !none {
			s.Given = true
		}
	}
}

// floatArg is a number that may be written without a point.
type floatArg float64

func (f *floatArg) Unpack(v starlark.Value) error {
	x, ok := starlark.AsFloat(v)
	if !ok {
		return fmt.Errorf("got %s, want a number", v.Type())
	}
	*f = floatArg(x)
	return nil
}

// oppositeArg is a switch whose flag says the opposite.
type oppositeArg options.Opposite

func (o *oppositeArg) Unpack(v starlark.Value) error {
	b, ok := v.(starlark.Bool)
	if !ok {
		return fmt.Errorf("got %s, want bool", v.Type())
	}
	*o = oppositeArg(!b)
	return nil
}

// textArg is an argument that is a text with a form of its own, such as "2h". A size can
// be a number of bytes as well.
type textArg struct{ setting *options.Setting }

func (a *textArg) Unpack(v starlark.Value) error {
	text, ok := starlark.AsString(v)
	if _, size := a.setting.To.(*bytesize.Size); !ok && size {
		if n, isInt := v.(starlark.Int); isInt {
			text, ok = n.String(), true
		}
	}
	if !ok {
		return fmt.Errorf("got %s, want a string such as %q", v.Type(), a.setting.To)
	}
	a.setting.Read(text)
	return nil
}
