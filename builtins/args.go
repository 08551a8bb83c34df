package builtins

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.starlark.net/starlark"
	"golang.org/x/sys/unix"

	"imagebuilder/builtins/build"
)

// This file has the types of arguments that several words take, with their errors, and the
// wrapper of starlark.UnpackArgs that all of them go through: a check that is made here is
// made of every word.

// maxPositional is how many arguments a call may pass without their names: a recipe
// is read more often than written.
const maxPositional = 2

// unpackArgs is starlark.UnpackArgs for functions whose further arguments must be named.
func unpackArgs(fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple, pairs ...any) error {
	if len(args) > maxPositional {
		return Misuse{fmt.Errorf("%s: got %d arguments without a name, want at most %d", fn.Name(), len(args), maxPositional)}
	}
	return unpackAnyArgs(fn, args, kwargs, pairs...)
}

// unpackAnyArgs is starlark.UnpackArgs with our errors.
func unpackAnyArgs(fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple, pairs ...any) error {
	for _, kwarg := range kwargs {
		if err := known(fn, string(kwarg[0].(starlark.String)), pairs); err != nil {
			return Misuse{err}
		}
	}
	if err := checkNesting(fn, args, kwargs); err != nil {
		return err
	}
	if err := starlark.UnpackArgs(fn.Name(), args, kwargs, pairs...); err != nil {
		return argumentError(err, args, kwargs, pairs)
	}
	return nil
}

// known reports an argument that a word does not take.
func known(fn *starlark.Builtin, name string, pairs []any) error {
	var names []string
	for i := range len(pairs) / 2 {
		names = append(names, parameter(pairs, i))
	}
	if slices.Contains(names, name) {
		return nil
	}
	return fmt.Errorf("%s: %w", fn.Name(), UnknownArgument(name, names))
}

// UnknownArgument is the error about an argument that a word does not take, with the one that may
// be meant.
func UnknownArgument(name string, known []string) error {
	hint := "known are " + strings.Join(known, ", ")
	if near := Nearest(name, known); near != "" {
		hint = "did you mean " + near + "?"
	}
	return fmt.Errorf("unexpected keyword argument %q (%s)", name, hint)
}

// stringList is an argument that is a list of strings.
type stringList []string

func (l *stringList) Unpack(v starlark.Value) error {
	list, ok := v.(starlark.Iterable)
	if _, isDict := v.(*starlark.Dict); !ok || isDict {
		return fmt.Errorf("got %s, want a list of strings", v.Type())
	}
	iter := list.Iterate()
	defer iter.Done()
	*l = stringList{}
	var x starlark.Value
	for i := 0; iter.Next(&x); i++ {
		s, ok := starlark.AsString(x)
		if !ok {
			return fmt.Errorf("element %d is a %s, not a string", i, x.Type())
		}
		*l = append(*l, s)
	}
	return nil
}

// stringMap is an argument that is a dictionary of strings.
type stringMap map[string]string

func (m *stringMap) Unpack(v starlark.Value) error {
	dict, ok := v.(*starlark.Dict)
	if !ok {
		return fmt.Errorf("got %s, want a dict of strings", v.Type())
	}
	*m = make(stringMap, dict.Len())
	for _, item := range dict.Items() {
		key, ok1 := starlark.AsString(item[0])
		value, ok2 := starlark.AsString(item[1])
		if !ok1 || !ok2 {
			return fmt.Errorf("%s: %s is not a string: a string", item[0], item[1])
		}
		(*m)[key] = value
	}
	return nil
}

// fileMode is an argument that is a file mode: a number (0o644) or its octal text
// ("0644"), of up to twelve bits, or the empty text, which is none. In front of these may
// be those that stat(2) has for a regular file: 0100644.
type fileMode struct{ bits *uint32 }

func (m *fileMode) Unpack(v starlark.Value) error {
	var n uint64
	var err error
	switch v := v.(type) {
	case starlark.NoneType:
		return nil
	case starlark.Int:
		var ok bool
		if n, ok = v.Uint64(); !ok {
			n = 1 << 63
		}
	case starlark.String:
		if v == "" {
			return nil
		}
		if n, err = strconv.ParseUint(string(v), 8, 32); err != nil {
			return fmt.Errorf("%s is not an octal mode such as \"0644\"", v)
		}
	default:
		return fmt.Errorf("got %s, want a mode such as 0o644", v.Type())
	}
	if n&^0o7777 == unix.S_IFREG {
		n &= 0o7777
	}
	if n > 0o7777 {
		return fmt.Errorf("%s is not a mode: it has more than twelve bits", v)
	}
	bits := uint32(n)
	m.bits = &bits
	return nil
}

// fileContent is an argument that is the content of a file: a text, or any bytes.
type fileContent []byte

func (c *fileContent) Unpack(v starlark.Value) error {
	switch v := v.(type) {
	case starlark.String:
		*c = fileContent(v)
	case starlark.Bytes:
		*c = fileContent(v)
	default:
		return fmt.Errorf("got %s, want a string or bytes", v.Type())
	}
	return nil
}

// owner is an argument that is a user or a group: its number or its name in the image.
type owner string

func (o *owner) Unpack(v starlark.Value) error {
	switch v := v.(type) {
	case starlark.NoneType:
	case starlark.Int:
		*o = owner(v.String())
	case starlark.String:
		*o = owner(v)
		if number, ok := strings.CutPrefix(string(v), "+"); ok && !ownerName.MatchString(number) {
			*o = owner(number)
		}
	default:
		return fmt.Errorf("got %s, want a name or a number", v.Type())
	}
	// The highest number is the one that chown(2) takes for "leave it".
	n, err := strconv.ParseUint(string(*o), 10, 32)
	if *o != "" && !ownerName.MatchString(string(*o)) && (err != nil || n == math.MaxUint32) {
		return fmt.Errorf("%s is neither a name nor a number of a user or group", v)
	}
	return nil
}

// ownerName matches names of users and groups as useradd(8) takes them.
var ownerName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*[$]?$`)

// fileMap is an argument that maps names to files, in their order.
type fileMap []build.NamedFile

func (m *fileMap) Unpack(v starlark.Value) error {
	dict, ok := v.(*starlark.Dict)
	if !ok {
		return fmt.Errorf("got %s, want a dict of files", v.Type())
	}
	for _, item := range dict.Items() {
		name, ok1 := starlark.AsString(item[0])
		f, ok2 := item[1].(*file)
		if !ok1 || !ok2 {
			return fmt.Errorf("%s: %s is not a name: a file", item[0], item[1])
		}
		if err := build.CheckFileName(name); err != nil {
			return err
		}
		*m = append(*m, build.NamedFile{Name: name, File: f.File})
	}
	return nil
}
