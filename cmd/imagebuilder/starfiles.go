package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/library"
)

// What the commands that work on files of Starlark, not on recipes, have in common: which
// files they mean.

// starFiles returns the files that a command line means: a file is itself, whatever it is
// called, of a directory it is all below it that end in suffix. What begins with a dot, such as
// .git, is left out, and so are vendored copies of libraries. It is an error if a directory has none.
func starFiles(names []string, suffix string) ([]string, error) {
	var files []string
	for _, name := range names {
		before := len(files)
		dir := false
		err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case path == name && !d.IsDir():
				files = append(files, path)
			case path == name:
				dir = true
			case d.IsDir() && isVendor(path):
				return fs.SkipDir
			case strings.HasPrefix(d.Name(), "."):
				if d.IsDir() {
					return fs.SkipDir
				}
			case d.Type().IsRegular() && strings.HasSuffix(path, suffix):
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("cannot look for files: %w", err)
		}
		if dir && len(files) == before {
			return nil, fmt.Errorf("there is no file *%s in %s", suffix, name)
		}
	}
	return files, nil
}

// isVendor tells whether a directory has the vendored copies of libraries, which are to stay as
// they are.
func isVendor(dir string) bool {
	if filepath.Base(dir) != library.VendorDir {
		return false
	}
	_, err := os.Stat(filepath.Join(filepath.Dir(dir), library.FileName))
	return err == nil
}

// completeStar completes the names of such files.
func completeStar(_ *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return []string{"star"}, cobra.ShellCompDirectiveFilterFileExt
}
