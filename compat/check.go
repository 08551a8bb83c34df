package compat

import (
	"context"

	"imagebuilder/builtins/problems"
	"imagebuilder/runtime"
)

// validate looks at every entry; a build only at those it is for. Both use the recipe.

// CheckAll finds what is wrong with any entry of a definition, whatever it is for, as
// far as that can be known without building: scripts without an interpreter, arguments
// of generators, templates, modes, owners.
func (d *Document) CheckAll(ctx context.Context, config runtime.Config) error {
	recipe := d.translate(Mode{All: true})
	config.Place = recipe.Place
	var errs []error
	for _, target := range []string{"dir", "lxd", "vm", "lxc"} {
		config.Options = map[string]string{"target": target}
		if d.Image.Release == "" { // most definitions leave it to those who build
			config.Options["image.release"] = "release"
		}
		if d.Source.URL == "" { // or the address
			config.Options["source.url"] = "https://example.org/"
		}
		r, err := runtime.LoadText(ctx, d.source.file, recipe.Text, config)
		if err == nil {
			err = check(r)
		}
		errs = append(errs, err)
	}
	return problems.Join(errs...)
}
