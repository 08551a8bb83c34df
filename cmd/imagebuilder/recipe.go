package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
	"imagebuilder/runtime"
)

// recipeOptions are the flags of all commands that load a recipe.
type recipeOptions struct {
	set []string
}

func (o *recipeOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&o.set, "option", "o", nil, "set an option of the recipe, as `name=value`; may be repeated")
}

// load loads a recipe with the options that the command line sets.
func (o *recipeOptions) load(cmd *cobra.Command, name string, log logOptions) (*runtime.Recipe, error) {
	set := make(map[string]string)
	for _, text := range o.set {
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("-o %s: want name=value", text)}
		}
		set[key] = value
	}
	clock, err := host.NewClock(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return nil, err
	}
	return runtime.Load(cmd.Context(), name, runtime.Config{
		Options: set,
		Clock:   clock,
		Machine: machine(),
		Stdin:   cmd.InOrStdin(),
		Log:     log.logger(cmd.ErrOrStderr()),
	})
}

// machine is the machine name of uname(2).
func machine() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Machine[:])
}
