package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/printable"
	"imagebuilder/builtins/problems"
	"imagebuilder/builtins/provenance"
	"imagebuilder/runtime"
	"imagebuilder/runtime/matrix"
)

// The command that everything else is about.

type runOptions struct {
	recipe  recipeOptions
	build   buildOptions
	timeout timeLimit
	locked  lockedOptions
	noSBOM  bool
	result  string // file
	matrix  runMatrixOptions
}

func newRunCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run RECIPE [TARGET_DIR]",
		Short: "Run a recipe",
		Long: `Run a recipe and leave what it packs in TARGET_DIR, by default the current directory.
RECIPE is the path of a file, - for standard input, or the name of a recipe that comes
with the tool (see 'imagebuilder recipes'). The path of a YAML definition, which ends in
.yaml, means the recipe that it translates to (see 'imagebuilder convert'). The paths of
the results are printed.

With --matrix, the recipe is run once for each way to choose a value from every axis, as
by 'imagebuilder matrix run', which says more of it.

Beside each image that is packed stand its packages: NAME.manifest, a line each, NAME.spdx.json
and NAME.cdx.json, bills of materials in SPDX and CycloneDX, where NAME is the file with the root
file system; and SHA256SUMS. Where the images of a directory come from is in ` + provenance.UnsignedName + `, or
in ` + provenance.Name + ` with a signature by --sign-key, which 'imagebuilder verify' checks.

'imagebuilder run RECIPE --help' lists the options of the recipe.`,
		Example: `  imagebuilder run debian out -o release=bookworm
  imagebuilder run debian out --matrix release=bookworm,trixie --matrix variant=default,cloud -j 2
  imagebuilder run ./my.star --explain`,
		Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.build.shell && terminal(cmd) == nil {
				return usageError{errors.New("--shell-on-failure needs a terminal: nobody could talk to the shell")}
			}
			target := "."
			if len(args) == 2 {
				target = args[1]
			}
			if len(o.matrix.axes) > 0 {
				return o.runMatrix(cmd, args[0], target)
			}
			if o.matrix.jobs.list || cmd.Flags().Changed("jobs") {
				return usageError{errors.New("--list and --jobs are about the cells of --matrix, and there is none")}
			}
			return o.keepingResult(cmd, args[0], target, func() error { return o.run(cmd, args[0], target) })
		},
	}
	o.recipe.addFlags(cmd)
	o.recipe.addToolFlag(cmd)
	o.build.addFlags(cmd)
	cmd.Flags().BoolVar(&o.build.shell, "shell-on-failure", false, "where a step fails, open a shell in its root file system")
	cmd.Flags().BoolVar(&o.noSBOM, "no-sbom", false, "leave out what is said beside each image: its packages, SHA256SUMS and, if it is not signed, where it comes from")
	o.locked.addFlags(cmd)
	cmd.Flags().Var(&o.timeout, "timeout", timeLimitUsage)
	cmd.Flags().StringVar(&o.result, "result", "", "write what has become of the run to `file`, as JSON; while it runs, that it does; with --remote-push, to the shared store as well, with the results")
	o.matrix.addFlags(cmd)
	help := cmd.HelpFunc()
	cmd.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		help(cmd, args)
		o.helpRecipe(cmd)
	})
	return cmd
}

// run runs a recipe.
func (o *runOptions) run(cmd *cobra.Command, name, target string) error {
	defer bound(cmd, o.timeout)()
	if err := o.locked.open(name, &o.recipe, &o.build); err != nil {
		return err
	}
	o.build.documents = !o.noSBOM
	recipe, err := o.recipe.load(cmd, name, o.build.log)
	if err != nil {
		return err
	}
	if err := o.locked.checkTools(cmd.Context(), o.build.log.logger(cmd.ErrOrStderr())); err != nil {
		return err
	}
	kept := o.locked.keepBefore(target, o.recipe.set)
	if err := o.build.run(cmd, recipe, target); err != nil {
		return problems.Join(err, dropAll(kept))
	}
	return o.locked.checkResults(target, o.recipe.set, kept)
}

// keepingResult writes what becomes of a run into the file of --result, and gives it to a shared
// store to which results are given.
func (o *runOptions) keepingResult(cmd *cobra.Command, name, target string, run func() error) error {
	if o.result == "" {
		return run()
	}
	result := matrix.Begun(filepath.Dir(o.result))
	if err := result.Write(o.result); err != nil {
		return err
	}
	var did runtime.Run
	o.build.report = func(run runtime.Run) { did = run }
	teller, err := o.tellsOthers(cmd, name, target)
	if err == nil {
		teller.begins(result)
		err = run()
	}
	var ended signalError
	result.End(did, err, errors.As(err, &ended))
	err = problems.Join(err, result.Write(o.result))
	teller.ends(result)
	return err
}

// helpRecipe prints the options of the recipe that --help stands behind, if there is one.
func (o *runOptions) helpRecipe(cmd *cobra.Command) {
	if cmd.Flags().NArg() == 0 {
		return
	}
	defer bound(cmd, o.timeout)()
	recipe, err := (&recipeOptions{}).load(cmd, cmd.Flags().Arg(0), o.build.log)
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "\n%s", runtime.Explain(err))
		return
	}
	fmt.Fprintf(cmd.OutOrStdout(), "\nRecipe %s: %s\n\nOptions:\n", printable.Line(recipe.Name), printable.Text(recipe.Doc))
	printOptions(cmd.OutOrStdout(), recipe.Options())
}
