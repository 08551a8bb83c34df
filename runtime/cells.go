package runtime

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins"
	"imagebuilder/builtins/problems"
)

// Matrix files: which recipes are to be built with which options. They say so while they are
// loaded, and do nothing.

// A Matrix is what a matrix file says.
type Matrix struct {
	Doc   string // its first string
	Cells []Cells
}

// Cells are those of one call: the product of its axes.
type Cells struct {
	Recipe string // as a command line names it
	Axes   []Axis
	Fixed  []Axis              // options that each cell has, with one value each
	Unless []map[string]string // axes and values of cells that there are not
	Stream string              // tree of the image server that the results are for; "": of none
	place  []Frame             // of the call; none: it is of a command line
}

// An Axis is an option of the recipe, and the values that cells have for it, as -o takes them.
type Axis struct {
	Name   string
	Values []string
}

// Within says of an error of cells, and of each of several, where these are declared.
func (c Cells) Within(err error) error {
	if err == nil || c.place == nil {
		return err
	}
	var errs []error
	for _, one := range problems.List(err) {
		frames := slices.Clone(c.place)
		var e *Error
		if errors.As(one, &e) {
			frames, one = append(frames, e.Frames...), e.Err
		}
		errs = append(errs, &Error{Frames: frames, Err: one})
	}
	return problems.Join(errs...)
}

// LoadMatrix loads a matrix file, which is a file of Starlark with the word cells. Nothing is
// known of its recipes then.
func LoadMatrix(ctx context.Context, file string, config Config) (*Matrix, error) {
	r := newRecipe(ctx, file, config)
	m, text, err := r.loader.main(file, config.Stdin)
	if err != nil {
		return nil, err
	}
	if err := r.loadPrelude(); err != nil {
		return nil, err
	}
	if text == nil {
		return nil, fmt.Errorf("%s is a recipe that comes with the tool, not a matrix file", file)
	}
	matrix := &matrixFile{loader: r.loader}
	r.loader.words["cells"] = starlark.NewBuiltin("cells", matrix.cells)
	if _, err := r.loader.exec(m, string(text)); err != nil {
		return nil, r.explain(err)
	}
	if len(matrix.calls) == 0 {
		return nil, fmt.Errorf("%s declares no cells, as cells(\"debian\", release = [\"bookworm\", \"trixie\"]) does", file)
	}
	return &Matrix{Doc: docOf(r.loader.texts[m.String()]), Cells: matrix.calls}, nil
}

//go:embed cells.go
var cellsSource []byte

// A matrixFile is one while it is loaded.
type matrixFile struct {
	loader *loader
	calls  []Cells
}

// cells(recipe, unless=[], stream=None, options={}, **axes) declares cells of a matrix, one for
// each way to choose a value from every axis. recipe is the name of one that comes with the tool,
// or a path from the directory of the matrix file; of a definition as well. An axis is an option
// of the recipe with a list of values; one value that is no list is for all cells. options has,
// by name, axes that cannot be written as a parameter, such as {"image.release": ["trixie"]}.
// unless is a list of dicts, of axes and values: cells that have all of one of them are left out.
// stream is the tree of an image server that gets the results when all cells are done, a path
// as that of the recipe. A cell is known by the recipe and its values on the axes: two that are
// the same there are refused.
//
// Example:
//
//	cells(
//	    "debian",
//	    release = ["bookworm", "trixie"],
//	    architecture = ["amd64", "riscv64"],
//	    variant = ["default", "cloud"],
//	    unless = [{"architecture": "riscv64", "release": "bookworm"}],
//	    stream = "/srv/images",
//	)
func (f *matrixFile) cells(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var recipe, stream string
	var unless *starlark.List
	var options *starlark.Dict
	var own, axes []starlark.Tuple
	for _, kw := range kwargs {
		switch name := string(kw[0].(starlark.String)); name {
		case "recipe", "unless", "stream", "options":
			own = append(own, kw)
		default:
			axes = append(axes, kw)
		}
	}
	if len(args) > 1 {
		return nil, errors.New("cells: only recipe goes without a name")
	}
	if err := starlark.UnpackArgs(fn.Name(), args, own, "recipe", &recipe, "unless??", &unless, "stream??", &stream, "options??", &options); err != nil {
		return nil, err
	}
	if options != nil {
		axes = append(axes, options.Items()...)
	}
	call := thread.CallFrame(1)
	dir := filepath.Dir(call.Pos.Filename())
	c := Cells{Recipe: f.path(dir, recipe), Stream: stream, place: []Frame{f.loader.frame(call.Pos, "")}}
	if stream != "" && !filepath.IsAbs(stream) {
		c.Stream = filepath.Join(dir, stream)
	}
	for _, axis := range axes {
		if err := c.addAxis(axis[0], axis[1]); err != nil {
			return nil, fmt.Errorf("cells: %w", err)
		}
	}
	if err := c.addUnless(unless); err != nil {
		return nil, fmt.Errorf("cells: %w", err)
	}
	f.calls = append(f.calls, c)
	return starlark.None, nil
}

// path is a recipe as a command line names it.
func (f *matrixFile) path(dir, recipe string) string {
	if isName(recipe) || filepath.IsAbs(recipe) || strings.HasPrefix(recipe, "@") {
		return recipe
	}
	return filepath.Join(dir, recipe)
}

func (c *Cells) addAxis(key, v starlark.Value) error {
	name, ok := starlark.AsString(key)
	if !ok {
		return fmt.Errorf("options has the name %v, which is no string", key)
	}
	if slices.ContainsFunc(append(c.Axes, c.Fixed...), func(a Axis) bool { return a.Name == name }) {
		return fmt.Errorf("%s is given twice", name)
	}
	list, ok := v.(*starlark.List)
	if !ok {
		value, err := cellValue(name, v)
		c.Fixed = append(c.Fixed, Axis{name, []string{value}})
		return err
	}
	axis := Axis{Name: name}
	for i := range list.Len() {
		value, err := cellValue(name, list.Index(i))
		if err != nil {
			return err
		}
		if slices.Contains(axis.Values, value) {
			return fmt.Errorf("%s has the value %q twice", name, value)
		}
		axis.Values = append(axis.Values, value)
	}
	c.Axes = append(c.Axes, axis)
	return nil
}

// cellValue is the value of an option as -o takes it.
func cellValue(name string, v starlark.Value) (string, error) {
	switch v := v.(type) {
	case starlark.String, starlark.Bool, starlark.Int, starlark.Float:
	case *starlark.List:
		if err := builtins.CheckNesting(v); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	default:
		return "", fmt.Errorf("%s is a %s; an option is a string, a bool, a number or a list of strings", name, v.Type())
	}
	text := plain(v)
	if strings.ContainsAny(text, "\n\r\x00") {
		return "", fmt.Errorf("%s has the value %q, which no line of a Makefile or job can say", name, text)
	}
	return text, nil
}

// addUnless reads which cells are left out: each value must be one that cells have, or a slip
// would leave out nothing.
func (c *Cells) addUnless(list *starlark.List) error {
	if list == nil {
		return nil
	}
	for i := range list.Len() {
		dict, ok := list.Index(i).(*starlark.Dict)
		if !ok {
			return fmt.Errorf("unless has a %s, want a dict of axes and values", list.Index(i).Type())
		}
		without := make(map[string]string)
		for _, item := range dict.Items() {
			name, _ := starlark.AsString(item[0])
			value := plain(item[1])
			at := slices.IndexFunc(c.Axes, func(a Axis) bool { return a.Name == name })
			if at < 0 {
				return fmt.Errorf("unless names %s, which is none of the axes", item[0])
			}
			if !slices.Contains(c.Axes[at].Values, value) {
				return fmt.Errorf("unless has the %s %q, which no cell has: want one of %s", name, value, strings.Join(c.Axes[at].Values, ", "))
			}
			without[name] = value
		}
		c.Unless = append(c.Unless, without)
	}
	return nil
}
