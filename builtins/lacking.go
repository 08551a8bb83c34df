package builtins

import (
	"fmt"

	"go.starlark.net/starlark"
)

// lacking(what, root=None, args={}) marks a place where this version lacks something: a
// plan shows it with args, a build says before it starts that it cannot be done.
func (b *Build) lacking(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var what string
	var root *Rootfs
	var with *starlark.Dict
	if err := unpackArgs(fn, args, kwargs, "what", &what, "root??", &root, "args?", &with); err != nil {
		return nil, err
	}
	s := b.newStep(thread, fn, root, Arg{"what", what})
	if with != nil {
		for _, item := range with.Items() {
			if name, ok := starlark.AsString(item[0]); ok {
				s.Args = append(s.Args, Arg{name, ToPlain(item[1])})
			}
		}
	}
	return starlark.None, b.Worker.Lacking(s, what)
}

func lackingError(s *Step, what string) error {
	return at(s.At(), fmt.Errorf("%s: this version does not know how to do that yet", what))
}

// at puts the place in the recipe, if there is one, before an error.
func at(place string, err error) error {
	if place == "" {
		return err
	}
	return fmt.Errorf("%s: %w", place, err)
}
