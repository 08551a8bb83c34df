package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/library"
	"imagebuilder/builtins/lock"
	"imagebuilder/compat"
	"imagebuilder/runtime"
)

// What all commands that load a recipe have in common. Whether a name means a recipe or a
// definition is not their business.

// recipeOptions are the flags of all commands that load a recipe.
type recipeOptions struct {
	set     []string
	secrets []string
	tools   []string      // see addToolFlag
	epoch   host.Epoch    // "": that of the caller
	lock    *lock.Session // what libraries are taken from; nil: the network
}

func (o *recipeOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&o.set, "option", "o", nil, "set an option of the recipe, as `name=value`; may be repeated")
	cmd.Flags().StringArrayVar(&o.secrets, "secret", nil, "let steps read a file that nothing keeps, as `name=FILE`; may be repeated")
	cmd.ValidArgsFunction = completeRecipe
	if err := cmd.RegisterFlagCompletionFunc("option", completeOption); err != nil {
		panic("internal error: " + err.Error())
	}
}

// load loads a recipe, or a definition as one, with the options that the command line
// sets.
func (o *recipeOptions) load(cmd *cobra.Command, name string, log logOptions) (*runtime.Recipe, error) {
	config, err := runtimeConfig(cmd, log)
	if err == nil && o.epoch != "" {
		config.Epoch, config.Now = o.epoch, o.epoch.Clock()()
	}
	config.Libraries.Lock = o.lock
	if err == nil {
		config.Secrets, err = o.givenSecrets()
	}
	if err == nil {
		config.Tools, err = o.givenTools()
	}
	if err != nil {
		return nil, err
	}
	return compat.Open(cmd.Context(), name, o.set, config)
}

// addToolFlag adds the flag of commands whose recipe may be done with one program or another.
func (o *recipeOptions) addToolFlag(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&o.tools, "tool", nil, "of programs that take each other's place use `"+strings.Join(build.Choices, "|")+"`, whatever else is installed; a lock has its own")
	completeValues(cmd, "tool", build.Choices)
}

// givenTools are those of --tool.
func (o *recipeOptions) givenTools() ([]string, error) {
	for _, name := range o.tools {
		if !slices.Contains(build.Choices, name) {
			return nil, usageError{fmt.Errorf("--tool %s: want %s", name, strings.Join(build.Choices, ", "))}
		}
		if o.lock != nil && !o.lock.Record && !o.lock.HasTool(name) {
			return nil, madeWithout(name, o.lock.Name)
		}
	}
	return o.tools, nil
}

// givenSecrets are the files of --secret by their names.
func (o *recipeOptions) givenSecrets() (build.Secrets, error) {
	secrets := make(build.Secrets)
	for _, text := range o.secrets {
		name, file, ok := strings.Cut(text, "=")
		if !ok || file == "" {
			return nil, usageError{fmt.Errorf("--secret %s: want name=FILE", text)}
		}
		if err := build.CheckSecretName(name); err != nil {
			return nil, usageError{fmt.Errorf("--secret: %w", err)}
		}
		secrets[name] = file
	}
	return secrets, nil
}

// librariesOf says where a command finds the libraries that recipes share: in the cache of its
// flag, if it has one, as it has one that keeps it from the network.
func librariesOf(cmd *cobra.Command) library.Options {
	var cache cacheOptions
	if f := cmd.Flags().Lookup("cache"); f != nil {
		cache.dir = f.Value.String()
	}
	o := library.Options{Cache: cache.directory, Log: logOptions{}.logger(cmd.ErrOrStderr())}
	if f := cmd.Flags().Lookup("offline"); f != nil {
		o.Offline = f.Value.String() == "true"
	}
	return o
}

// addOfflineFlag adds the flag of commands that download nothing but libraries.
func addOfflineFlag(cmd *cobra.Command) {
	cmd.Flags().Bool("offline", false, "download no libraries: those that the cache or a vendored copy has do")
}

// runtimeConfig is how recipes are evaluated: the clock is read here, once for all that
// becomes of one.
func runtimeConfig(cmd *cobra.Command, log logOptions) (runtime.Config, error) {
	epoch, err := host.CallerEpoch()
	if err != nil {
		return runtime.Config{}, err
	}
	return runtime.Config{
		Now:     epoch.Clock()(),
		Epoch:   epoch,
		Machine: host.Machine(),
		Stdin:   cmd.InOrStdin(),
		Log:     log.logger(cmd.ErrOrStderr()),

		Libraries: librariesOf(cmd),
		AllFrames: log.debug,
	}, nil
}
