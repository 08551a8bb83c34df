package compat

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"imagebuilder/builtins/pack"
	"imagebuilder/builtins/problems"
	"imagebuilder/runtime"
)

// validate looks at every entry; a build only at those it is for. Both use the recipe.

// CheckAll finds what is wrong with any entry of a definition, whatever it is for, as
// far as that can be known without building: scripts without an interpreter, arguments
// of generators, templates, modes, owners. What need not be wrong is said.
func (d *Document) CheckAll(ctx context.Context, config runtime.Config) error {
	recipe := d.translate(Mode{All: true})
	config.Place = recipe.Place
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	var errs []error
	for _, f := range d.flaws {
		if f.targets != nil {
			errs = append(errs, f.err)
		} else {
			config.Log.Warn(f.said())
		}
	}
	// A build says it of those templates that it makes.
	for i, f := range d.Files {
		for j, event := range f.Template.When {
			if !slices.Contains(pack.Events, event) {
				err := d.source.among(fmt.Sprintf("files.%d.template.when.%d", i, j), event, pack.Events)
				config.Log.Warn(err.Error())
			}
		}
	}
	for _, target := range []string{"dir", "lxd", "vm", "lxc"} {
		config.Options = runtime.Given{"target": {target}}
		if d.Image.Release == "" { // most definitions leave it to those who build
			config.Options.Set("image.release", "1.0") // a form that all sources take
		}
		if d.Source.URL == "" { // or the address
			config.Options.Set("source.url", "https://example.org/")
		}
		r, err := runtime.LoadText(ctx, d.source.file, recipe.Text, config)
		if err == nil {
			err = check(r, nil)
		}
		errs = append(errs, err)
	}
	return problems.Join(errs...)
}
