package builtins

import (
	"fmt"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/template"
)

// render(text, image=None, keep_verbatim=False, **context) renders text as a pongo2 template
// (Django's language) with the names of context and, if it is given, the image as
// image. Nothing is escaped, unknown names are blank, + adds numbers, also those that texts
// spell, up to 64 bits, and a result that is itself a template is rendered again; with keep_verbatim, what
// stands within {% verbatim %} is left for somebody else to render.
//
// Example:
//
//	root.write("/etc/issue", render("{{ image.distribution }} {{ image.release }} of {{ owner }}\n", img, owner = "ACME"))
func (b *Words) render(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var text string
	var img *image
	var keep bool
	context, given := map[string]any{template.Now: b.Now}, make(starlark.StringDict)
	var named []starlark.Tuple
	for _, kwarg := range kwargs {
		switch name := string(kwarg[0].(starlark.String)); name {
		case "text", "image", "keep_verbatim":
			named = append(named, kwarg)
		default:
			given[name] = kwarg[1]
		}
	}
	if err := checkNesting(fn, nil, kwargs); err != nil {
		return nil, err
	}
	for name, v := range given {
		context[name] = ToPlain(v)
	}
	if err := unpackArgs(fn, args, named, "text", &text, "image??", &img, "keep_verbatim?", &keep); err != nil {
		return nil, err
	}
	if img != nil {
		context = img.Names(img.now, context)
	}
	render := template.Render
	if keep {
		render = template.RenderKeeping
	}
	out, err := render(text, context)
	if err != nil {
		return nil, fmt.Errorf("cannot render %.40q: %w", text, err)
	}
	return starlark.String(out), nil
}

// ToPlain turns a value that can be walked over (see [CheckNesting]) into plain data:
// strings, numbers, booleans, lists and maps. False and None become nothing, as definitions
// write them back.
func ToPlain(v starlark.Value) any {
	switch v := v.(type) {
	case starlark.String:
		return string(v)
	case starlark.Bytes: // whose elements are bytes again
		return string(v)
	case starlark.Bool:
		if v {
			return true
		}
	case starlark.Int:
		if n, ok := v.Int64(); ok {
			return n
		}
		return v.BigInt()
	case starlark.Float:
		return float64(v)
	case *starlark.Dict:
		m := make(map[string]any, v.Len())
		for _, item := range v.Items() {
			if key, ok := starlark.AsString(item[0]); ok {
				m[key] = ToPlain(item[1])
			}
		}
		return m
	case *starlark.Set:
		list := make([]any, 0, v.Len())
		for elem := range v.Elements() {
			list = append(list, ToPlain(elem))
		}
		return list
	case starlark.Indexable: // lists and tuples
		list := make([]any, v.Len())
		for i := range list {
			list[i] = ToPlain(v.Index(i))
		}
		return list
	}
	return nil
}
