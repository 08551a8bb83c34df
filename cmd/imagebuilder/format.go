package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/bazelbuild/buildtools/build"
	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/problems"
)

// The command that formats files as buildifier does, without what that rewrites besides: it
// sorts lists by the names that they have in Bazel, whose words are not ours.

func newFmtCommand() *cobra.Command {
	var check, differences bool
	cmd := &cobra.Command{
		Use:   "fmt FILE|DIR...",
		Short: "Format files of Starlark",
		Long: `Format files, and all files *.star below directories, and print the names of those that
have changed. Each is replaced as a whole. "-" formats standard input to standard output.

Only the space between words changes. A file that cannot be parsed is left as it is; the
formatter knows no literals of bytes, such as b"x": write bytes("x").`,
		Example: `  imagebuilder fmt my.star lib
  imagebuilder fmt --check .
  imagebuilder fmt - <my.star`,
		Args: args(1, 100000),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "-" {
				return formatStream(cmd)
			}
			files, err := starFiles(args, ".star")
			if err != nil {
				return err
			}
			changed := 0
			var errs []error
			for _, name := range files {
				text, formatted, err := formatFile(name)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				if bytes.Equal(text, formatted) {
					continue
				}
				changed++
				if differences {
					cmd.OutOrStdout().Write(diff.Diff(name, text, name+" formatted", formatted))
					continue
				}
				fmt.Fprintln(cmd.OutOrStdout(), name)
				if !check {
					errs = append(errs, replaceFile(name, formatted))
				}
			}
			if check && changed > 0 {
				errs = append(errs, fmt.Errorf("%d of %d files are not formatted; 'imagebuilder fmt' does it", changed, len(files)))
			}
			return problems.Join(errs...)
		},
		ValidArgsFunction: completeStar,
	}
	cmd.Flags().BoolVar(&check, "check", false, "change nothing, and fail if a file is not formatted")
	cmd.Flags().BoolVarP(&differences, "diff", "d", false, "change nothing, and print what would change")
	return cmd
}

func formatStream(cmd *cobra.Command) error {
	text, err := io.ReadAll(cmd.InOrStdin())
	if err != nil {
		return err
	}
	formatted, err := formatText("<stdin>", text)
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(formatted)
	return err
}

func formatFile(name string) (text, formatted []byte, err error) {
	if text, err = os.ReadFile(name); err != nil {
		return nil, nil, err
	}
	formatted, err = formatText(name, text)
	return text, formatted, err
}

// formatText formats the text of a file.
func formatText(name string, text []byte) ([]byte, error) {
	file, err := build.ParseDefault(name, text)
	if err != nil {
		return nil, parseError(err)
	}
	return build.FormatWithoutRewriting(file), nil
}

// parseError is an error of the parser in the way that places are told here.
func parseError(err error) error {
	var bad build.ParseError
	if errors.As(err, &bad) {
		return fmt.Errorf("%s:%d:%d: cannot parse it: %s", bad.Filename, bad.Pos.Line, bad.Pos.LineRune, bad.Message)
	}
	return err
}

// writeFile writes a file, which need not be there: it is there as a whole, old or new, at any time.
func writeFile(name string, text []byte) error {
	real, err := filepath.EvalSymlinks(filepath.Dir(name))
	if err != nil {
		return err
	}
	dir, err := dirfd.Open(real, dirfd.Refuse)
	if err != nil {
		return err
	}
	err = dir.Replace(filepath.Base(name), 0o644, dirfd.Bytes(text))
	return errors.Join(err, dir.Close())
}

// replaceFile gives a file another text: it is there as a whole, old or new, at any time. A
// link stays one, and the file keeps its mode and owner.
func replaceFile(name string, text []byte) (err error) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	st, err := os.Stat(real)
	if err != nil {
		return err
	}
	dir, err := dirfd.Open(filepath.Dir(real), dirfd.Refuse)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	err = dir.Replace(filepath.Base(real), uint32(st.Mode().Perm()), dirfd.Bytes(text))
	if owner, ok := st.Sys().(*syscall.Stat_t); ok && err == nil && int(owner.Uid) != os.Geteuid() {
		err = os.Chown(real, int(owner.Uid), int(owner.Gid))
	}
	return err
}
