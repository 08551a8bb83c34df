package compat

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"imagebuilder/builtins/problems"
	"imagebuilder/runtime"
)

// This file is where a name and the values of -o on a command line become a recipe,
// whether they mean one or a definition, which is translated.

// IsDefinition tells the name of a YAML definition from that of a recipe.
func isDefinition(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// Open loads a recipe, or a definition as one, with what -o says. Of a definition, keys
// have a dot, which options of a recipe need not have.
func Open(ctx context.Context, name string, set []string, config runtime.Config) (*runtime.Recipe, error) {
	options, overrides, err := split(isDefinition(name), set)
	if err != nil {
		return nil, err
	}
	config.Options = options
	if !isDefinition(name) {
		return runtime.Load(ctx, name, config)
	}
	for _, o := range overrides {
		config.Keys = append(config.Keys, o.Key+"="+o.Value)
	}
	doc, err := OpenDefinition(ctx, name, overrides, config)
	if err != nil {
		return nil, err
	}
	return doc.Recipe(ctx, Mode{}, config)
}

// OpenSession begins a session with the options that the command line sets. Its recipe is no
// definition: the text that one is translated into has nothing to be said of by name.
func OpenSession(ctx context.Context, set []string, o runtime.SessionOptions) (*runtime.Session, error) {
	if isDefinition(o.Recipe) {
		return nil, fmt.Errorf("%s is a definition, which has no names; 'imagebuilder convert' makes a recipe of it", o.Recipe)
	}
	options, _, err := split(false, set)
	if err != nil {
		return nil, err
	}
	o.Config.Options = options
	return runtime.NewSession(ctx, o)
}

// Check finds what is wrong with a recipe or a definition before it runs: with the options
// as they are, and with each value that one of them may have besides.
func Check(ctx context.Context, name string, set []string, config runtime.Config) error {
	once := config
	if isDefinition(name) {
		once.Log = nil // what is to be said is said below, of all entries
	}
	r, err := Open(ctx, name, set, once)
	if err != nil {
		return err
	}
	found := check(r, once.Log)
	switch {
	case name == "-": // which cannot be read again
		return found
	case !isDefinition(name):
		return problems.Join(found, checkValues(ctx, name, set, r.Options(), found, config))
	case found != nil:
		return found
	}
	_, overrides, err := split(true, set)
	if err != nil {
		return err
	}
	doc, err := OpenDefinition(ctx, name, overrides, config)
	if err != nil {
		return err
	}
	return doc.CheckAll(ctx, config)
}

// check finds what is wrong with a loaded recipe, files of this machine that are not there
// among it. What was not looked at, or not with certainty, is said on log; nil: nowhere.
func check(r *runtime.Recipe, log *slog.Logger) error {
	planner, err := r.Check()
	if err != nil {
		return err
	}
	if log != nil && planner.Doubtful != nil {
		log.Warn("this is wrong if what was assumed is right", "cause", planner.Doubtful)
	}
	if said := planner.Assumptions(); log != nil && said != "" {
		log.Warn(said)
	}
	return problems.Join(planner.MissingFiles()...)
}

// checkValues checks a recipe with each further value of each option that was not given, for
// what was not found without them.
func checkValues(ctx context.Context, name string, set []string, options []runtime.Option, found error, config runtime.Config) error {
	given, _, err := split(false, set)
	if err != nil {
		return err
	}
	var errs []error
	for _, o := range options {
		if _, ok := given[o.Name]; ok {
			continue
		}
		for _, value := range o.OtherValues() {
			setting := o.Name + "=" + value
			r, err := Open(ctx, name, append(set[:len(set):len(set)], setting), config)
			if err == nil {
				err = check(r, nil)
			}
			errs = append(errs, runtime.Within("with -o "+setting, problems.Without(err, found)))
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	}
	return problems.Join(errs...)
}

// OpenDefinition reads a definition from a file or, if the name is - or empty, from
// standard input.
func OpenDefinition(ctx context.Context, name string, overrides []Override, config runtime.Config) (*Document, error) {
	var r io.Reader = config.Stdin
	if name == "-" || name == "" {
		name = "<stdin>"
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("cannot read the definition: %w", err)
		}
		defer f.Close()
		r = f
	}
	return readDefinition(ctx, r, name, config.Machine, overrides)
}

// Recipe loads the recipe of the definition, with the options of config.
func (d *Document) Recipe(ctx context.Context, mode Mode, config runtime.Config) (*runtime.Recipe, error) {
	if err := d.fits(cmp.Or(config.Options.Get("target"), "lxd"), config.Log); err != nil {
		return nil, err
	}
	t := d.translate(mode)
	config.Place = t.Place
	return runtime.LoadText(ctx, d.Name(), t.Text, config)
}

// split returns the options of a recipe, and the keys of a definition, that -o sets.
func split(definition bool, set []string) (runtime.Given, []Override, error) {
	options := make(runtime.Given)
	var overrides []Override
	for _, text := range set {
		key, value, ok := strings.Cut(text, "=")
		switch {
		case definition && (!ok || strings.Contains(key, ".")):
			more, err := ParseOverrides([]string{text})
			if err != nil {
				return nil, nil, err
			}
			overrides = append(overrides, more...)
		case !ok:
			return nil, nil, runtime.Misspelt{Err: fmt.Errorf("-o %s: want name=value", text)}
		default:
			options.Add(key, value)
		}
	}
	return options, overrides, nil
}
