package builtins

import (
	"fmt"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"
)

// A record is what struct makes: as in other dialects, but it can be printed also when a
// list that it holds holds it.
type record struct{ *starlarkstruct.Struct }

var (
	_ starlark.HasAttrs   = (*record)(nil)
	_ starlark.HasBinary  = (*record)(nil)
	_ starlark.Comparable = (*record)(nil)
)

// struct(**kwargs) returns an immutable value with the arguments as its attributes.
//
// Example:
//
//	options = struct(release = "trixie", packages = ["openssh-server"])
//	install(root, options.packages)
func (b *Words) makeStruct(_ *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if len(args) > 0 {
		return nil, fmt.Errorf("%s: unexpected positional arguments", fn.Name())
	}
	return &record{starlarkstruct.FromKeywords(starlarkstruct.Default, kwargs)}, nil
}

func newStruct(fields starlark.StringDict) starlark.Value {
	return &record{starlarkstruct.FromStringDict(starlarkstruct.Default, fields)}
}

// String prints what contains the record as "...", like the language does of lists.
func (r *record) String() string {
	var out strings.Builder
	printRecord(&out, r, nil)
	return out.String()
}

// printRecord prints a value in which records may be. path is what it is in.
func printRecord(out *strings.Builder, v starlark.Value, path []starlark.Value) {
	var open, end string
	switch v := v.(type) {
	case *record:
		open, end = "struct(", ")"
	case *starlark.List:
		open, end = "[", "]"
	case *starlark.Dict:
		open, end = "{", "}"
	case starlark.Tuple:
		open, end = "(", ")"
		if len(v) == 1 {
			end = ",)"
		}
	default:
		out.WriteString(v.String())
		return
	}
	out.WriteString(open)
	defer out.WriteString(end)
	if _, isTuple := v.(starlark.Tuple); !isTuple { // which is no comparable value, and cannot hold itself
		for _, above := range path {
			if above == v {
				out.WriteString("...")
				return
			}
		}
		path = append(path[:len(path):len(path)], v)
	}
	_, isDict := v.(*starlark.Dict)
	r, isRecord := v.(*record)
	i := 0
	for held := range holds(v) {
		switch {
		case isDict && i%2 == 1:
			out.WriteString(": ")
		case i > 0:
			out.WriteString(", ")
		}
		if isRecord {
			name, _ := r.AttrAt(i)
			out.WriteString(name + " = ")
		}
		printRecord(out, held, path)
		i++
	}
}

// Binary adds two records.
func (r *record) Binary(op syntax.Token, y starlark.Value, side starlark.Side) (starlark.Value, error) {
	other, ok := y.(*record)
	if !ok {
		return nil, nil // unhandled
	}
	sum, err := r.Struct.Binary(op, other.Struct, side)
	if sum == nil || err != nil {
		return nil, err
	}
	return &record{sum.(*starlarkstruct.Struct)}, nil
}

// CompareSameType compares two records.
func (r *record) CompareSameType(op syntax.Token, y starlark.Value, depth int) (bool, error) {
	return r.Struct.CompareSameType(op, y.(*record).Struct, depth)
}
