package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
	"imagebuilder/compat"
	"imagebuilder/runtime"
)

// recipeOptions are the flags of all commands that load a recipe.
type recipeOptions struct {
	set []string
}

func (o *recipeOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&o.set, "option", "o", nil, "set an option of the recipe, as `name=value`; may be repeated")
}

// load loads a recipe, or a definition as one, with the options that the command line
// sets.
func (o *recipeOptions) load(cmd *cobra.Command, name string, log logOptions) (*runtime.Recipe, error) {
	set, overrides, err := o.split(name)
	if err != nil {
		return nil, err
	}
	if isDefinition(name) {
		doc, err := loadDefinition(cmd, name, overrides)
		if err != nil {
			return nil, err
		}
		return translated(cmd, doc, compat.Mode{}, set, log)
	}
	config, err := runtimeConfig(cmd, set, log)
	if err != nil {
		return nil, err
	}
	return runtime.Load(cmd.Context(), name, config)
}

// split returns the options of the recipe, and those that are keys of a definition.
func (o *recipeOptions) split(name string) (map[string]string, []compat.Override, error) {
	set := make(map[string]string)
	var overrides []compat.Override
	for _, text := range o.set {
		key, value, ok := strings.Cut(text, "=")
		switch {
		case isDefinition(name) && (!ok || strings.Contains(key, ".")):
			more, err := compat.ParseOverrides([]string{text})
			if err != nil {
				return nil, nil, usageError{err}
			}
			overrides = append(overrides, more...)
		case !ok:
			return nil, nil, usageError{fmt.Errorf("-o %s: want name=value", text)}
		default:
			set[key] = value
		}
	}
	return set, overrides, nil
}

// runtimeConfig is how recipes are evaluated.
func runtimeConfig(cmd *cobra.Command, options map[string]string, log logOptions) (runtime.Config, error) {
	clock, err := host.NewClock(os.Getenv("SOURCE_DATE_EPOCH"))
	return runtime.Config{
		Options: options,
		Clock:   clock,
		Machine: machine(),
		Stdin:   cmd.InOrStdin(),
		Log:     log.logger(cmd.ErrOrStderr()),
	}, err
}

// machine is the machine name of uname(2).
func machine() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Machine[:])
}
