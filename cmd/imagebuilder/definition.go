package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/compat"
	"imagebuilder/runtime"
)

// definitionOptions are the flags of all commands on YAML definitions.
type definitionOptions struct{ set []string }

func (o *definitionOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&o.set, "options", "o", nil, "set a value of the definition, as `key=value`; may be repeated")
}

// load reads a definition.
func (o *definitionOptions) load(cmd *cobra.Command, name string) (*compat.Document, error) {
	overrides, err := compat.ParseOverrides(o.set)
	if err != nil {
		return nil, usageError{err}
	}
	return loadDefinition(cmd, name, overrides)
}

// isDefinition tells the name of a YAML definition from that of a recipe.
func isDefinition(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

// loadDefinition reads a definition from a file or, if the name is - or empty, from
// standard input.
func loadDefinition(cmd *cobra.Command, name string, overrides []compat.Override) (*compat.Document, error) {
	var r io.Reader = cmd.InOrStdin()
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
	return compat.Load(cmd.Context(), r, name, machine(), overrides)
}

// translated loads the recipe of a definition with its own options.
func translated(cmd *cobra.Command, doc *compat.Document, mode compat.Mode, options map[string]string, log logOptions) (*runtime.Recipe, error) {
	config, err := runtimeConfig(cmd, options, log)
	if err != nil {
		return nil, err
	}
	recipe := doc.Translate(mode)
	config.Place = recipe.Place
	return runtime.LoadText(cmd.Context(), doc.Name(), recipe.Text, config)
}

// checkDefinition checks all entries of a definition, whatever they are for.
func checkDefinition(cmd *cobra.Command, doc *compat.Document) error {
	config, err := runtimeConfig(cmd, nil, logOptions{})
	if err != nil {
		return err
	}
	return doc.CheckAll(cmd.Context(), config)
}

func newValidateCommand() *cobra.Command {
	var o definitionOptions
	cmd := &cobra.Command{
		Use:   "validate DEFINITION",
		Short: "Check a YAML definition",
		Long: `Check a definition and all its entries, whatever they are for. Errors say file, line
and key; nothing is printed if all is well. - reads standard input.`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			doc, err := o.load(cmd, args[0])
			if err != nil {
				return err
			}
			return checkDefinition(cmd, doc)
		},
	}
	o.addFlags(cmd)
	globalFlags(cmd.Flags())
	return cmd
}

func newConvertCommand() *cobra.Command {
	var o definitionOptions
	var mode compat.Mode
	cmd := &cobra.Command{
		Use:   "convert DEFINITION",
		Short: "Translate a YAML definition into a recipe",
		Long: `Print the recipe that a definition means, which is what the build commands run. What
-o sets becomes an option of the recipe, with the value as its default. Paths in a
recipe are relative to it: put it where you run the definition.`,
		Example: `  imagebuilder convert debian.yaml >debian.star
  imagebuilder run ./debian.star out -o image.release=trixie -o target=lxc`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			doc, err := o.load(cmd, args[0])
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), doc.Translate(mode).Text)
			return err
		},
	}
	o.addFlags(cmd)
	cmd.Flags().BoolVar(&mode.Pack, "pack", false, "print what the pack commands run, which begins with a directory")
	return cmd
}
