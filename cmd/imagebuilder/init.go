package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// The command that gives somebody a recipe to start from.

// firstRecipe is that recipe. It is none that comes with the tool: those are run by name.
//
//go:embed init.star
var firstRecipe []byte

const firstName = "recipe.star"

func newInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a first recipe, to be changed",
		Long: `Write ` + firstName + ` into DIR, which is made if it is not there, or into this directory: a
small Debian image for LXD, with options and comments. A file that is there already stays
as it is, which is an error.`,
		Example: `  imagebuilder init images
  imagebuilder plan images/recipe.star
  sudo imagebuilder run images/recipe.star out`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			name, err := writeFirst(dir)
			if err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), name)
			}
			return err
		},
	}
}

// writeFirst writes the first recipe into a directory and returns its path.
func writeFirst(dir string) (name string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cannot make the directory: %w", err)
	}
	name = filepath.Join(dir, firstName)
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("cannot write %s: it is there already; give another directory, or remove it", name)
	}
	if err != nil {
		return "", fmt.Errorf("cannot write the recipe: %w", err)
	}
	_, err = file.Write(firstRecipe)
	if err = errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("cannot write the recipe: %w", errors.Join(err, os.Remove(name)))
	}
	return name, nil
}
