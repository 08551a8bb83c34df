package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// The command that gives somebody a recipe to start from.

// What is written is none of the recipes that come with the tool: those are run by name.
var (
	//go:embed init.star
	firstRecipe []byte
	//go:embed init_test.star
	firstTest []byte
)

const (
	firstName     = "recipe.star"
	firstTestName = "recipe_test.star"
)

func newInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a first recipe, to be changed",
		Long: `Write ` + firstName + ` into DIR, which is made if it is not there, or into this directory: a
small Debian image for LXD, with options and comments, and its tests, ` + firstTestName + `. A
file that is there already stays as it is, which is an error.`,
		Example: `  imagebuilder init images
  imagebuilder plan images/recipe.star
  imagebuilder test images
  sudo imagebuilder run images/recipe.star out`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return writeFirst(cmd.OutOrStdout(), dir)
		},
	}
}

// writeFirst writes the first recipe and its tests into a directory, and prints their paths.
func writeFirst(w io.Writer, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the directory: %w", err)
	}
	recipe, test := filepath.Join(dir, firstName), filepath.Join(dir, firstTestName)
	if err := writeNew(recipe, firstRecipe); err != nil {
		return err
	}
	if err := writeNew(test, firstTest); err != nil {
		return errors.Join(err, os.Remove(recipe))
	}
	_, err := fmt.Fprintf(w, "%s\n%s\n", recipe, test)
	return err
}

// writeNew writes a file where none is.
func writeNew(name string, text []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot write %s: it is there already; give another directory, or remove it", name)
	}
	if err != nil {
		return fmt.Errorf("cannot write the recipe: %w", err)
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("cannot write the recipe: %w", errors.Join(err, os.Remove(name)))
	}
	return nil
}
