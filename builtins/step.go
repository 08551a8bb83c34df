package builtins

import (
	"fmt"
	"slices"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"imagebuilder/builtins/build"
)

// Where Starlark becomes a step of package build: the place in the recipe, the word that a
// reader knows, and when the step is stale.

// scaffold is the file of the library whose functions stand for lines of the recipe that calls
// them: no reader would know a step by their names.
const scaffold = "@stdlib//recipe.star"

// newStep begins a step of the builtin that is being called: it knows which line of the
// recipe asks for it, and by which word.
func (b *Words) newStep(thread *starlark.Thread, fn *starlark.Builtin, root *rootfs, args ...build.Arg) *build.Step {
	s := &build.Step{Builtin: fn.Name(), Label: fn.Name(), Args: args}
	if root != nil {
		s.Root = root.root
	}
	callers := thread.CallStack()
	callers = callers[:len(callers)-1] // main first
	last := -1                         // the last of the recipe: functions of the library may call its own
	for i, frame := range callers {
		if file := frame.Pos.Filename(); !inStdlib(file) && file != "<builtin>" {
			last = i
		}
	}
	if last >= 0 {
		s.At = b.where(callers[last].Pos)
	}
	for _, frame := range callers[last+1:] {
		// One without a line is the check of a call, whose function follows.
		if file := frame.Pos.Filename(); inStdlib(file) && file != scaffold && frame.Pos.Line > 0 {
			s.Label = frame.Name
			break
		}
	}
	return s
}

// arg is one argument of a step.
func arg(name string, value any) build.Arg { return build.Arg{Name: name, Value: value} }

func (b *Words) where(pos syntax.Position) string {
	if b.Where == nil {
		return pos.String()
	}
	return b.Where(pos)
}

// freshness is an argument that says when a step that reads the network is done again:
// "daily", "never", or a list of URLs.
type freshness struct{ *build.Freshness }

func (f *freshness) Unpack(v starlark.Value) error {
	f.Freshness = new(build.Freshness)
	if text, ok := starlark.AsString(v); ok {
		switch text {
		case "daily":
			f.Daily = true
		case "never":
		default:
			return fmt.Errorf(`got %s, want "daily", "never" or a list of URLs`, v)
		}
		return nil
	}
	var urls stringList
	if err := urls.Unpack(v); err != nil {
		return err
	}
	f.URLs = slices.DeleteFunc(urls, func(url string) bool { return url == "daily" })
	f.Daily = len(f.URLs) == 0 || len(f.URLs) < len(urls)
	return f.Check()
}

// or is what holds where nothing is said.
func (f freshness) or(network bool) build.Freshness {
	if f.Freshness == nil {
		return build.Freshness{Daily: network}
	}
	return *f.Freshness
}
