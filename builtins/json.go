package builtins

import (
	"fmt"
	"maps"
	"slices"

	"go.starlark.net/lib/json"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
)

// jsonModule is the module json of the language, which would go as deep as its argument.
var jsonModule = func() *starlarkstruct.Module {
	m := &starlarkstruct.Module{Name: json.Module.Name, Members: maps.Clone(json.Module.Members)}
	for name, check := range map[string]func(starlark.Value) error{
		"decode": checkJSON, "encode": CheckNesting, "encode_indent": CheckNesting,
	} {
		word := m.Members[name].(*starlark.Builtin)
		m.Members[name] = starlark.NewBuiltin(word.Name(), func(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			given := slices.Clone(args)
			for _, kwarg := range kwargs {
				given = append(given, kwarg[1])
			}
			for _, v := range given {
				if err := check(v); err != nil {
					return nil, fmt.Errorf("%s: %w", fn.Name(), err)
				}
			}
			return word.CallInternal(thread, args, kwargs)
		})
	}
	return m
}()

// checkJSON refuses a text with more open brackets than values may be deep.
func checkJSON(v starlark.Value) error {
	text, _ := starlark.AsString(v)
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > maxNesting {
				return errDeep
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return nil
}
