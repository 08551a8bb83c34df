package runtime

import (
	"context"
	"fmt"

	"go.starlark.net/starlark"

	"imagebuilder/builtins"
)

// CallLibrary calls a function of the standard library that takes one dict of strings
// and returns another. It is how Go asks for facts, which are kept in Starlark.
func CallLibrary(ctx context.Context, file, function string, args map[string]string) (map[string]string, error) {
	r := newRecipe(ctx, file, Config{})
	if err := r.loadPrelude(); err != nil {
		return nil, err
	}
	globals, err := r.loader.load(module{r.loader.libraries["@stdlib"], file})
	if err != nil {
		return nil, fmt.Errorf("internal error: %w", r.explain(err))
	}
	dict := starlark.NewDict(len(args))
	for key, value := range args {
		if err := dict.SetKey(starlark.String(key), starlark.String(value)); err != nil {
			return nil, err
		}
	}
	thread, done := r.loader.thread(function)
	defer done()
	result, err := starlark.Call(thread, globals[function], starlark.Tuple{dict}, nil)
	if err != nil {
		return nil, r.explain(ended(ctx, err))
	}
	if err := builtins.CheckNesting(result); err != nil {
		return nil, fmt.Errorf("internal error: %s of %s: %w", function, file, err)
	}
	plain, ok := builtins.ToPlain(result).(map[string]any)
	if !ok {
		return nil, fmt.Errorf("internal error: %s of %s returns a %s", function, file, result.Type())
	}
	strings := make(map[string]string, len(plain))
	for key, value := range plain {
		strings[key] = fmt.Sprint(value)
	}
	return strings, nil
}
