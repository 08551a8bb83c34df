package runtime

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins"
	"imagebuilder/builtins/problems"
)

// Parameters of recipes: their types, their values, and what is wrong with one.

// An Option is a parameter of a recipe.
type Option struct {
	Name    string
	Help    string
	Type    string         // of the default: string, bool, int, float or list
	Default starlark.Value // never None
	Values  []string       // the only ones allowed; nil: any
	Value   starlark.Value // as given, else the default
}

// Given are options as they are given. Of several values of one a list takes all, anything else
// the last.
type Given map[string][]string

// Set gives an option one value.
func (g Given) Set(name, value string) { g[name] = []string{value} }

// Add gives an option one value more.
func (g Given) Add(name, value string) { g[name] = append(g[name], value) }

// has tells whether a text is a value of an option, or one of its list, or a path that one
// names as a URL does.
func (g Given) has(text string) bool {
	for _, values := range g {
		for _, value := range values {
			for _, one := range append(strings.Split(value, ","), value) {
				if text != "" && (one == text || one == "oci:"+text || one == "file:"+text || one == "file://"+text) {
					return true
				}
			}
		}
	}
	return false
}

// List are the options as a command line gives them, sorted.
func (g Given) List() []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(g)) {
		for _, value := range g[name] {
			list = append(list, name+"="+value)
		}
	}
	return list
}

// Get returns the value of an option that is no list, "" if it was not given.
func (g Given) Get(name string) string {
	if values := g[name]; len(values) > 0 {
		return values[len(values)-1]
	}
	return ""
}

// options are the declared and the given ones of one run.
type options struct {
	given    Given
	declared []Option
	closed   bool // all files are loaded
}

// option(name, default, help="", values=None) declares a parameter of the recipe and
// returns its value: what -o NAME=VALUE says, else the default. Its type is that of
// the default: a string, True or False, a number, or a list of strings, which are
// separated by commas or given one by one. values lists the only ones allowed.
//
// Example:
//
//	load("@stdlib//sources/debian.star", "debootstrap")
//
//	release = option("release", "trixie", help = "Debian release", values = ["bookworm", "trixie"])
//
//	def main():
//	    root = debootstrap(image("debian", release), "http://ftp.debian.org/debian")
func (o *options) option(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	opt := Option{}
	var values *starlark.List
	if len(args) > 2 {
		return nil, errors.New("option: at most name and default go without a name")
	}
	if err := starlark.UnpackArgs(fn.Name(), args, kwargs, "name", &opt.Name, "default", &opt.Default, "help?", &opt.Help, "values??", &values); err != nil {
		return nil, err
	}
	for _, v := range []starlark.Value{opt.Default, values} {
		if list, ok := v.(*starlark.List); ok && list != nil {
			if err := builtins.CheckNesting(list); err != nil {
				return nil, fmt.Errorf("option %s: %w", opt.Name, err)
			}
		}
	}
	if opt.Name == "" || strings.ContainsAny(opt.Name, "= \t\n\x00") {
		return nil, fmt.Errorf("option: %q is no name that -o name=value can say", opt.Name)
	}
	if o.closed {
		return nil, errors.New("option: only available while files are loaded")
	}
	if err := opt.declare(values); err != nil {
		return nil, fmt.Errorf("option %s: %w", opt.Name, err)
	}
	if texts, ok := o.given[opt.Name]; ok {
		if err := opt.set(texts); err != nil {
			return nil, Misspelt{fmt.Errorf("option %s: %w", opt.Name, err)}
		}
	}
	for _, old := range o.declared {
		if old.Name != opt.Name {
			continue
		}
		if same, _ := starlark.Equal(old.Default, opt.Default); !same || old.Type != opt.Type || !slices.Equal(old.Values, opt.Values) {
			return nil, fmt.Errorf("option %s: it is declared twice, differently", opt.Name)
		}
		return opt.Value, nil
	}
	o.declared = append(o.declared, opt)
	return opt.Value, nil
}

func (opt *Option) declare(values *starlark.List) error {
	switch v := opt.Default.(type) {
	case starlark.String, starlark.Bool, starlark.Int, starlark.Float, *starlark.List:
		opt.Type = v.Type()
	default:
		return fmt.Errorf("the default is a %s; it can be a string, a bool, a number or a list of strings", v.Type())
	}
	opt.Default.Freeze()
	opt.Value = opt.Default
	if values != nil {
		opt.Values = []string{}
		for i := range values.Len() {
			opt.Values = append(opt.Values, plain(values.Index(i)))
		}
	}
	return opt.check(opt.Default)
}

// set gives the option the value that texts mean: those of a list are the parts of one, of
// others the last counts.
func (opt *Option) set(texts []string) error {
	text := texts[len(texts)-1]
	if opt.Type == "list" {
		text = strings.Join(texts, ",")
	}
	value, err := opt.parse(text)
	if err != nil {
		return err
	}
	value.Freeze()
	opt.Value = value
	return opt.check(value)
}

func (opt *Option) parse(text string) (starlark.Value, error) {
	switch opt.Type {
	case "bool":
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", text)
		}
		return starlark.Bool(b), nil
	case "int":
		n, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", text)
		}
		return starlark.MakeInt64(n), nil
	case "float":
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", text)
		}
		return starlark.Float(f), nil
	case "list":
		var list []starlark.Value
		for _, part := range strings.Split(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, starlark.String(part))
			}
		}
		return starlark.NewList(list), nil
	}
	return starlark.String(text), nil
}

func (opt *Option) check(v starlark.Value) error {
	values := []starlark.Value{v}
	if list, ok := v.(*starlark.List); ok {
		values = nil
		for i := range list.Len() {
			if _, ok := list.Index(i).(starlark.String); !ok {
				return fmt.Errorf("element %d of the list is not a string", i)
			}
			values = append(values, list.Index(i))
		}
	}
	for _, v := range values {
		if opt.Values != nil && !slices.Contains(opt.Values, plain(v)) {
			return fmt.Errorf("%s is none of %s", plain(v), strings.Join(opt.Values, ", "))
		}
	}
	return nil
}

// plain prints a value as -o takes it.
func plain(v starlark.Value) string {
	switch v := v.(type) {
	case starlark.String:
		return string(v)
	case starlark.Bool:
		return strconv.FormatBool(bool(v))
	case *starlark.List:
		var parts []string
		for i := range v.Len() {
			parts = append(parts, plain(v.Index(i)))
		}
		return strings.Join(parts, ",")
	}
	return v.String()
}

// OtherValues are the values that the option may have besides its own, as -o takes them.
func (opt Option) OtherValues() []string {
	values := opt.Values
	if opt.Type == "bool" && values == nil {
		values = []string{"false", "true"}
	}
	return slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == plain(opt.Value) })
}

// DefaultText prints the default as -o takes it.
func (opt Option) DefaultText() string { return plain(opt.Default) }

// unknown finds the given options that the recipe does not declare.
func (o *options) unknown() error {
	var errs []error
	var names []string
	for _, opt := range o.declared {
		names = append(names, opt.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(o.given)) {
		if slices.Contains(names, name) {
			continue
		}
		hint := "the recipe has no options"
		if near := builtins.Nearest(name, names); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		} else if len(names) > 0 {
			hint = "the recipe has " + strings.Join(names, ", ")
		}
		errs = append(errs, Misspelt{fmt.Errorf("unknown option %s: %s", name, hint)})
	}
	return problems.Join(errs...)
}
