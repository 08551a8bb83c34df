// Command imagebuilder builds system images from recipes. Run "imagebuilder help".
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"imagebuilder/builtins"
	"imagebuilder/builtins/build"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/lxd"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/runtime"
)

// Exit codes. A run that a signal ends exits with 128 and its number.
const (
	exitError = 1
	exitUsage = 2
)

func main() { os.Exit(start()) }

// start does the work of the process and returns its exit code. That may come from the
// work itself or, where nobody can wait for that any longer, from what ends it.
func start() int {
	if code, ok := sandbox.Main(build.Tasks()...); ok {
		return code
	}
	signals, err := host.AtDoor()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return exitError
	}
	if signals == nil {
		signals = caughtSignals() // before anything is done that they are to end in order
	}
	codes := make(chan int, 4)
	go func() { codes <- run(&ending{codes: codes, signals: signals}) }()
	return <-codes
}

// run runs the command line.
func run(e *ending) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go e.watchSignals(cancel)
	p := newProgram(filepath.Base(os.Args[0]))
	p.root.SilenceUsage, p.root.SilenceErrors = true, true
	if cmd, err := p.root.ExecuteContextC(e.in(ctx)); err != nil {
		return p.fail(cmd, err)
	}
	return 0
}

// A program is the command line of one name of the tool.
type program struct {
	root *cobra.Command
	fail func(*cobra.Command, error) int // tells why a command has failed and returns the exit code
}

// newProgram returns the command line of the name that the tool was called by.
func newProgram(name string) program {
	switch name {
	case "lxd-imagebuilder":
		return ownProgram(newOldBuilderCommand(name, lxd.LXD))
	case "distrobuilder":
		return ownProgram(newOldBuilderCommand(name, lxd.Incus))
	case "simplestream-maintainer":
		return newOldMaintainer()
	}
	root := newRootCommand()
	root.SetArgs(verbFirst(root, os.Args[1:]))
	return ownProgram(root)
}

// ownProgram is a program whose errors are told in our own way.
func ownProgram(root *cobra.Command) program {
	root.PersistentPreRunE = throughDoor
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
	})
	return program{root, func(cmd *cobra.Command, err error) int {
		var status statusError
		if errors.As(err, &status) {
			return int(status)
		}
		if logsJSON(cmd) {
			logFailure(err)
		} else {
			fmt.Fprint(os.Stderr, runtime.Explain(err))
		}
		return exitCode(root.Name(), err)
	}}
}

// exitCode returns the exit code for an error. The older tools tell no errors apart.
func exitCode(tool string, err error) int {
	var usage usageError
	var misspelt runtime.Misspelt
	var ended signalError
	var trouble troubleError
	switch {
	case (errors.As(err, &usage) || errors.As(err, &misspelt)) && tool == "imagebuilder":
		return exitUsage
	case errors.As(err, &ended):
		return 128 + int(ended.signal)
	case errors.As(err, &trouble):
		return exitUsage
	}
	return exitError
}

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// troubleError is an error of a command whose exit status 1 means something else.
type troubleError struct{ error }

func (e troubleError) Unwrap() error { return e.error }

// newRootCommand is the command line under the tool's own name.
func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:     "imagebuilder",
		Version: version,
		Short:   "Build system images from programs",
		Long: `imagebuilder builds images for LXD, Incus and LXC from recipes: Starlark programs whose
every step is a cached layer, carried out in namespaces of its own.

  imagebuilder run debian out        build Debian, leave the image in out/
  imagebuilder run debian --help     its options
  imagebuilder init                  write a recipe of your own, recipe.star
  imagebuilder plan recipe.star      what it would do
  imagebuilder doctor                what this machine lacks

Image definitions in YAML are translated into recipes and run the same way:

  imagebuilder build-lxd debian.yaml out -o image.release=trixie
  imagebuilder convert debian.yaml   the recipe

An image server is a tree of images and what is made of it:

  imagebuilder stream --help         add, build, list, prune, serve, verify`,
	}
	asGroup(root)
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.AddCommand(definitionCommands(lxd.LXD, lxd.Incus)...)
	root.AddCommand(
		newBootCommand(),
		newConvertCommand(),
		newCacheCommand(),
		newCheckCommand(),
		newDiffCommand(),
		newDocCommand(),
		newDoctorCommand(),
		newHistoryCommand(),
		newInitCommand(),
		newInspectCommand(),
		newFmtCommand(),
		newLintCommand(),
		newLockCommand(),
		newMatrixCommand(),
		newModCommand(),
		newOptionsCommand(),
		newPlanCommand(),
		newRecipesCommand(),
		newRepackWindowsCommand(),
		newRemoteCommand(),
		newReplCommand(),
		newRunCommand(),
		newShellCommand(),
		newStreamCommand(),
		newTestCommand(),
		newVerifyCommand(),
		newVersionCommand(),
	)
	return root
}

// asGroup makes a command one that only has others: alone it shows its help, and what is
// none of them is a usage error, which cobra does not know.
func asGroup(group *cobra.Command) {
	group.DisableFlagsInUseLine = true
	group.Args = cobra.ArbitraryArgs
	group.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := fmt.Sprintf("see '%s --help'", cmd.CommandPath())
		if near := meant(cmd, args[0]); near != "" {
			hint = "did you mean " + near + "?"
		}
		return usageError{fmt.Errorf("unknown command %q for %q; %s", args[0], cmd.CommandPath(), hint)}
	}
}

// meant returns the command of a group that another name is likely to mean, or "": one that
// says so, else one that is spelt like it.
func meant(group *cobra.Command, name string) string {
	var names []string
	for _, c := range group.Commands() {
		if slices.Contains(c.SuggestFor, name) {
			return c.Name()
		}
		names = append(names, c.Name())
	}
	return builtins.Nearest(name, names)
}

// args checks the number of arguments as a usage error.
func args(min, max int) cobra.PositionalArgs {
	check := cobra.RangeArgs(min, max)
	if min == max {
		check = cobra.ExactArgs(min)
	}
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w; usage: %s", err, cmd.UseLine())}
		}
		return nil
	}
}
