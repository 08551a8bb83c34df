package builtins

import "go.starlark.net/starlark"

// The word by which the standard library knows what its own functions can be told.

// parameters(function) returns the names of the parameters that a function written in
// Starlark can be given by name, in their order; the last is "**NAME" if that takes all
// others.
//
// Example:
//
//	def base(img, url = "", **kwargs):
//	    return rootfs(img)
//
//	if "url" in parameters(base):
//	    root = base(img, url = "https://example.org/debian")
func (b *Words) parameters(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var function *starlark.Function
	if err := unpackArgs(fn, args, kwargs, "function", &function); err != nil {
		return nil, err
	}
	n := function.NumParams()
	rest := function.HasKwargs()
	if rest {
		n--
	}
	if function.HasVarargs() {
		n--
	}
	var names []starlark.Value
	for i := range n {
		name, _ := function.Param(i)
		names = append(names, starlark.String(name))
	}
	if rest {
		name, _ := function.Param(function.NumParams() - 1)
		names = append(names, starlark.String("**"+name))
	}
	return starlark.NewList(names), nil
}
