package main

import (
	"io"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/lxd"
	"imagebuilder/compat"
	"imagebuilder/runtime"
)

// Commands that read a definition and build nothing.

// definitionOptions are the flags of all commands on YAML definitions.
type definitionOptions struct{ set []string }

func (o *definitionOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&o.set, "options", "o", nil, "set a value of the definition, as `key=value`; may be repeated")
}

// load reads a definition from a file or, if the name is - or empty, from standard input.
func (o *definitionOptions) load(cmd *cobra.Command, name string, config runtime.Config) (*compat.Document, error) {
	overrides, err := compat.ParseOverrides(o.set)
	if err != nil {
		return nil, err
	}
	return compat.OpenDefinition(cmd.Context(), name, overrides, config)
}

// validate returns what is wrong with a definition.
func (o *definitionOptions) validate(cmd *cobra.Command, name string) error {
	config, err := runtimeConfig(cmd, logOptions{})
	if err != nil {
		return err
	}
	doc, err := o.load(cmd, name, config)
	if err != nil {
		return err
	}
	return doc.CheckAll(cmd.Context(), config)
}

func newValidateCommand() *cobra.Command {
	var o definitionOptions
	cmd := &cobra.Command{
		Use:   "validate DEFINITION...",
		Short: "Check YAML definitions",
		Long: `Check definitions and all their entries, whatever they are for. Errors say file, line
and key; nothing is printed if all is well. - reads standard input.`,
		Args:              args(1, 1000),
		ValidArgsFunction: completeDefinitions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return ofAll(cmd, args, func(name string) error { return o.validate(cmd, name) })
		},
	}
	o.addFlags(cmd)
	globalFlags(cmd.Flags())
	return cmd
}

func newConvertCommand() *cobra.Command {
	var o definitionOptions
	var mode compat.Mode
	var incus bool
	cmd := &cobra.Command{
		Use:   "convert DEFINITION",
		Short: "Translate a YAML definition into a recipe",
		Long: `Print the recipe that a definition means, which is what the build commands run. What
-o sets becomes an option of the recipe, with the value as its default. Paths in a
recipe are relative to it: put it where you run the definition.`,
		Example: `  imagebuilder convert debian.yaml >debian.star
  imagebuilder run ./debian.star out -o image.release=trixie -o target=lxc`,
		Args:              args(1, 1),
		ValidArgsFunction: completeDefinition,
		RunE: func(cmd *cobra.Command, args []string) error {
			config, err := runtimeConfig(cmd, logOptions{})
			if err != nil {
				return err
			}
			doc, err := o.load(cmd, args[0], config)
			if err != nil {
				return err
			}
			if incus {
				mode.Server = lxd.Incus
			}
			_, err = io.WriteString(cmd.OutOrStdout(), doc.Convert(mode))
			return err
		},
	}
	o.addFlags(cmd)
	cmd.Flags().BoolVar(&mode.Pack, "pack", false, "print what the pack commands run, which begins with a directory")
	cmd.Flags().BoolVar(&incus, "incus", false, "print what the commands for Incus run, instead of those for LXD")
	return cmd
}
