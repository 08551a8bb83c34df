package builtins

import "go.starlark.net/starlark"

// What a fork of a rootfs may change must not be that of the other: this file copies values
// that can hold each other, and themselves.

// copyDeep copies a value with all lists, dicts, sets and tuples in it, each once; other
// values are shared.
func copyDeep(v starlark.Value, copies map[starlark.Value]starlark.Value) starlark.Value {
	switch v := v.(type) {
	case starlark.Tuple: // a slice, which is no key
		c := make(starlark.Tuple, len(v))
		for i, elem := range v {
			c[i] = copyDeep(elem, copies)
		}
		return c
	case *starlark.List, *starlark.Dict, *starlark.Set:
		if c, ok := copies[v]; ok {
			return c
		}
		return copyContainer(v, copies)
	}
	return v
}

// copyContainer copies what can hold itself: its copy is known before its elements are
// copied. Keys are not copied, as they cannot change.
func copyContainer(v starlark.Value, copies map[starlark.Value]starlark.Value) starlark.Value {
	switch v := v.(type) {
	case *starlark.List:
		c := starlark.NewList(nil)
		copies[v] = c
		for i := range v.Len() {
			c.Append(copyDeep(v.Index(i), copies))
		}
		return c
	case *starlark.Dict:
		c := new(starlark.Dict)
		copies[v] = c
		for _, item := range v.Items() {
			c.SetKey(item[0], copyDeep(item[1], copies))
		}
		return c
	case *starlark.Set:
		c := new(starlark.Set)
		copies[v] = c
		for elem := range v.Elements() {
			c.Insert(elem)
		}
		return c
	}
	return v
}
