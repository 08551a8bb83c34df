package builtins

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"go.starlark.net/starlark"
)

// A plan has to tell an error of the recipe from one that its own assumptions have led to.
// This file marks the first kind.

// A Misuse is an error in how a word is called, whatever an image holds: one that a plan
// finds although it has to assume what the words that look into an image answer.
type Misuse struct{ Err error }

func (m Misuse) Error() string { return m.Err.Error() }
func (m Misuse) Unwrap() error { return m.Err }

// misuse(text) ends the recipe as fail does, for what is wrong with the arguments of a
// function: it is said before a run, even after an answer of the image was assumed.
//
// Example:
//
//	def check_variant(variant):
//	    if variant not in ["default", "cloud"]:
//	        misuse("the variant is %r, not default or cloud" % variant)
//
//	check_variant(img.variant)
func (b *Words) misuse(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var text string
	if err := unpackArgs(fn, args, kwargs, "text", &text); err != nil {
		return nil, err
	}
	return nil, Misuse{errors.New(text)}
}

// badParameter matches the errors of starlark.UnpackArgs about the value of an argument.
var badParameter = regexp.MustCompile(`^[^:]*: for parameter "?(\w+)"?: `)

// argumentError is the error of a call with these arguments: a misuse, unless it is about
// a value that may come from what a plan assumes.
func argumentError(err error, args starlark.Tuple, kwargs []starlark.Tuple, pairs []any) error {
	match := badParameter.FindStringSubmatch(err.Error())
	if match == nil {
		return Misuse{err}
	}
	return BadArgument(err, argument(match[1], args, kwargs, pairs))
}

// BadArgument is an error about the value of an argument: a misuse, unless the value may come from
// what a plan assumes.
func BadArgument(err error, v starlark.Value) error {
	if CheckNesting(v) == nil && isBare(v) {
		return err
	}
	return Misuse{err}
}

// argument returns the value that a call gives for a parameter.
func argument(name string, args starlark.Tuple, kwargs []starlark.Tuple, pairs []any) starlark.Value {
	for _, kwarg := range kwargs {
		if kwarg[0] == starlark.String(name) {
			return kwarg[1]
		}
	}
	for i, v := range args {
		if parameter(pairs, i) == name {
			return v
		}
	}
	return starlark.None
}

// parameter is the name of a parameter of starlark.UnpackArgs.
func parameter(pairs []any, i int) string { return strings.TrimRight(pairs[2*i].(string), "?") }

// isBare tells whether a value may have been made of the empty texts and lists that a
// plan takes for the answers of an image: nothing, or no letter or digit in it; or of the
// names in angle brackets that it takes for those of the network.
func isBare(v starlark.Value) bool {
	switch v := v.(type) {
	case starlark.NoneType:
		return true
	case *link:
		return isBare(starlark.String(v.Name))
	case starlark.String:
		return !strings.ContainsFunc(string(v), isAlphanumeric) || strings.Contains(string(v), "<") && strings.Contains(string(v), ">")
	case *starlark.Dict:
		return v.Len() == 0 || slices.ContainsFunc(v.Items(), func(item starlark.Tuple) bool { return isBare(item[0]) || isBare(item[1]) })
	case starlark.Bytes: // whose elements are bytes again
		return isBare(starlark.String(v))
	case starlark.Indexable: // lists and tuples: one element is enough
		for i := range v.Len() {
			if isBare(v.Index(i)) {
				return true
			}
		}
		return v.Len() == 0
	}
	return false
}

func isAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r > 0x7f
}
