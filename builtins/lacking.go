package builtins

import (
	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
)

// The word by which the standard library says what it has no way to do yet. It is the only
// one that is to go some day.

// lacking(what, root=None, args={}) marks a place where this version lacks something: a
// plan shows it with args, a build says before it starts that it cannot be done.
func (b *Words) lacking(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var what string
	var root *rootfs
	var with *starlark.Dict
	if err := unpackArgs(fn, args, kwargs, "what", &what, "root??", &root, "args?", &with); err != nil {
		return nil, err
	}
	s := b.newStep(thread, fn, root, arg("what", what))
	if with != nil {
		for _, item := range with.Items() {
			if name, ok := starlark.AsString(item[0]); ok {
				s.Args = append(s.Args, arg(name, ToPlain(item[1])))
			}
		}
	}
	return starlark.None, b.Worker.Act(Context(thread), s, build.Lacking(s, what))
}
