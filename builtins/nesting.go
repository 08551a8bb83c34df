package builtins

import (
	"errors"
	"fmt"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// Values of a recipe can contain themselves, hold each other a million deep, or one of them so
// often that all together fill no memory. Whatever walks over one would end with the whole
// process. So arguments are walked over once, here, before anything else looks at them.

const (
	// maxNesting is how deep values may hold each other where they are walked over.
	maxNesting = 1000
	// maxParts is how many values one may hold, with those that it holds several times.
	maxParts = 1 << 24
)

var (
	errItself = errors.New("it contains itself")
	errDeep   = fmt.Errorf("it is nested more than %d deep", maxNesting)
	errLarge  = fmt.Errorf("it holds more than %d values", maxParts)
)

// CheckNesting finds out why a value cannot be walked over.
func CheckNesting(v starlark.Value) error {
	_, err := (&nesting{parts: make(map[any]int)}).of(v, 0)
	return err
}

// CheckDepth finds out why a value cannot be walked over by what knows values that contain
// themselves: to print it, or to freeze it.
func CheckDepth(v starlark.Value) error {
	_, err := (&nesting{parts: make(map[any]int), marks: true}).of(v, 0)
	return err
}

// CheckFreeze finds out why a value cannot be frozen, which goes into what functions hold as
// well, and comes to no end in one that holds itself.
func CheckFreeze(v starlark.Value) error {
	_, err := (&nesting{parts: make(map[any]int), marks: true, functions: true}).of(v, 0)
	return err
}

// A nesting is one walk over a value. It comes by each part once.
type nesting struct {
	parts     map[any]int // values in one that was walked over, 0 while it is
	marks     bool        // whoever comes after knows lists, dicts and sets that contain themselves
	functions bool        // whoever comes after goes into functions
}

// slice is what a tuple is told by.
type slice struct {
	first *starlark.Value
	len   int
}

// of returns how many values there are in one.
func (n *nesting) of(v starlark.Value, depth int) (parts int, err error) {
	var id any = v
	switch v := v.(type) {
	case *starlark.List, *starlark.Dict, *starlark.Set, *starlarkstruct.Struct, *record:
	case *starlark.Function, *starlark.Builtin:
		if !n.functions {
			return 1, nil
		}
	case starlark.Tuple:
		if len(v) == 0 {
			return 1, nil
		}
		id = slice{&v[0], len(v)}
	default:
		return 1, nil
	}
	known, seen := n.parts[id]
	switch {
	case seen && known > 0:
		return known, nil
	case seen && n.marks && marked(v):
		return 1, nil
	case seen:
		return 0, errItself
	case depth == maxNesting:
		return 0, errDeep
	}
	n.parts[id] = 0
	parts = 1
	for held := range holds(v) {
		more, err := n.of(held, depth+1)
		if err != nil {
			return 0, err
		}
		if parts += more; parts > maxParts {
			return 0, errLarge
		}
	}
	n.parts[id] = parts
	return parts, nil
}

// marked tells whether a value that contains itself is known to those who print or freeze it.
func marked(v starlark.Value) bool {
	switch v.(type) {
	case *starlark.List, *starlark.Dict, *starlark.Set:
		return true
	}
	return false
}

// holds yields what a value holds.
func holds(v starlark.Value) func(yield func(starlark.Value) bool) {
	return func(yield func(starlark.Value) bool) {
		switch v := v.(type) {
		case starlark.Indexable: // lists and tuples
			for i := range v.Len() {
				if !yield(v.Index(i)) {
					return
				}
			}
		case *starlark.Dict:
			for key, value := range v.Entries() {
				if !yield(key) || !yield(value) {
					return
				}
			}
		case *starlark.Set:
			for elem := range v.Elements() {
				if !yield(elem) {
					return
				}
			}
		case *starlark.Function:
			for i := range v.NumFreeVars() {
				if _, held := v.FreeVar(i); held != nil && !yield(held) {
					return
				}
			}
			for i := range v.NumParams() {
				if def := v.ParamDefault(i); def != nil && !yield(def) {
					return
				}
			}
		case *starlark.Builtin:
			if held := v.Receiver(); held != nil {
				yield(held)
			}
		case interface {
			Len() int
			AttrAt(int) (string, starlark.Value)
		}: // structs
			for i := range v.Len() {
				if _, field := v.AttrAt(i); !yield(field) {
					return
				}
			}
		}
	}
}

// checkNesting finds the argument of a call that cannot be walked over.
func checkNesting(fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) error {
	for i, v := range args {
		if err := CheckNesting(v); err != nil {
			return fmt.Errorf("%s: argument %d: %w", fn.Name(), i+1, err)
		}
	}
	for _, kwarg := range kwargs {
		if err := CheckNesting(kwarg[1]); err != nil {
			name, _ := starlark.AsString(kwarg[0])
			return fmt.Errorf("%s: %s: %w", fn.Name(), name, err)
		}
	}
	return nil
}

// printing returns the words of the language that print values, which they know how to do
// of those that contain themselves.
func printing() starlark.StringDict {
	words := make(starlark.StringDict)
	for _, name := range []string{"fail", "print", "repr", "str"} {
		word := starlark.Universe[name].(*starlark.Builtin)
		words[name] = starlark.NewBuiltin(name, func(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			for _, v := range args {
				if err := CheckDepth(v); err != nil {
					return nil, fmt.Errorf("%s: cannot print a value: %w", name, err)
				}
			}
			return word.CallInternal(thread, args, kwargs)
		})
	}
	return words
}
