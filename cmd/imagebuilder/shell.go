package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/printable"
	"imagebuilder/builtins/problems"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/runtime"
)

// Entering a build: a shell, or a command, in the root file system behind any step.

type shellOptions struct {
	recipe  recipeOptions
	build   buildOptions
	timeout timeLimit
	at      string
}

func newShellCommand() *cobra.Command {
	var o shellOptions
	cmd := &cobra.Command{
		Use:   "shell RECIPE|KEY [--at STEP|LINE] [-- COMMAND...]",
		Short: "Enter the root file system behind a step of a recipe",
		Long: `Run a recipe up to a step and open a shell in the root file system there, or run COMMAND
in it. Steps that are in the cache are not done again; nothing is packed or published, and
what is changed in the shell is not kept.

--at says behind which step: its number in 'imagebuilder plan', or a line of the recipe as
FILE:LINE or :LINE, which means the last step that it asks for. Without it, all steps are
done. A KEY from 'imagebuilder cache list' means the layer that has it.

The environment is that of the step, and what it runs is in /tmp/script. The exit status
is that of COMMAND. Where a step fails, 'imagebuilder run --shell-on-failure' opens a
shell as the step has left things.`,
		Example: `  imagebuilder shell debian
  imagebuilder shell ./my.star --at :12
  imagebuilder shell ./my.star --at 3 -- dpkg --list
  imagebuilder shell 0ee21ab4f7c5`,
		Args: o.arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			defer bound(cmd, o.timeout)()
			command := args[1:]
			if isKey(args[0]) && o.at == "" {
				return o.build.cache.visitLayer(cmd.Context(), args[0], func(ctx context.Context, room *build.Room) error {
					room.Offline = o.build.offline
					return enter(ctx, cmd, room, command)
				})
			}
			return o.enterRecipe(cmd, args[0], command)
		},
	}
	o.recipe.addFlags(cmd)
	o.build.addStepFlags(cmd)
	cmd.Flags().StringVar(&o.at, "at", "", "enter behind this `step or line`")
	cmd.Flags().Var(&o.timeout, "timeout", timeLimitUsage)
	return cmd
}

// arguments wants one name, and a command behind "--" only.
func (o *shellOptions) arguments(cmd *cobra.Command, args []string) error {
	if n := cmd.ArgsLenAtDash(); len(args) == 0 || n == 0 || n < 0 && len(args) > 1 || n > 1 {
		return usageError{fmt.Errorf("want one recipe or key, and a command behind --; usage: %s", cmd.UseLine())}
	}
	return nil
}

// enterRecipe does what a recipe says up to a step.
func (o *shellOptions) enterRecipe(cmd *cobra.Command, name string, command []string) error {
	recipe, err := o.recipe.load(cmd, name, o.build.log)
	if err != nil {
		return err
	}
	var at func(int, *build.Step) bool
	if o.at != "" {
		if at, err = stepAt(o.at); err != nil {
			return usageError{err}
		}
	}
	if err := recipe.Ready(os.TempDir(), nil); err != nil {
		return err
	}
	dir, err := o.build.cache.directory()
	if err != nil {
		return err
	}
	o.build.store.MaxSize = o.build.cache.maxSize()
	display := o.build.log.newDisplay(cmd.ErrOrStderr())
	defer display.Close()
	options := runtime.BuildOptions{
		Cache: dir, Store: o.build.store, Explain: o.build.explain, StaleOK: o.build.staleOK, Offline: o.build.offline, Log: display.log, Progress: display.progress,
	}
	return recipe.Visit(options, at, func(ctx context.Context, room *build.Room) error {
		display.Close()
		return enter(ctx, cmd, room, command)
	})
}

// visitLayer has the root file system up to a layer of the cache entered.
func (o *cacheOptions) visitLayer(ctx context.Context, key string, enter func(context.Context, *build.Room) error) (err error) {
	store, err := o.open(layer.Options{})
	if err != nil {
		return err
	}
	defer func() { err = problems.Join(err, store.Close()) }()
	meta, err := store.Find(key)
	if err != nil {
		return err
	}
	state, err := store.Layer(meta)
	if err != nil {
		return err
	}
	return build.VisitLayer(ctx, state, enter)
}

// isKey tells whether an argument names a layer of the cache, and no file.
func isKey(name string) bool {
	_, err := os.Lstat(name)
	return layer.IsKey(name) && err != nil
}

var lineFormat = regexp.MustCompile(`^([^:]*):([0-9]+)$`)

// stepAt is the meaning of --at.
func stepAt(text string) (func(int, *build.Step) bool, error) {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return func(i int, _ *build.Step) bool { return i == n }, nil
	}
	m := lineFormat.FindStringSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf("--at %s: want the number of a step, FILE:LINE or :LINE", text)
	}
	return func(_ int, s *build.Step) bool {
		file, rest, _ := strings.Cut(s.At, ":")
		line, _, _ := strings.Cut(rest, ":")
		return line == m[2] && (m[1] == "" || m[1] == file || strings.HasSuffix(file, "/"+m[1]))
	}, nil
}

// enter runs a command, or a shell on the user's terminal.
func enter(ctx context.Context, cmd *cobra.Command, room *build.Room, command []string) error {
	// The output of a command is often not for the terminal; that of a shell always is.
	if in := terminal(cmd); in != nil && (len(command) == 0 || host.IsTerminal(os.Stdout)) {
		return onTerminal(ctx, cmd.ErrOrStderr(), in, room, command)
	}
	// By a pipe: what is behind the caller's input is not the programs' business.
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	go func() {
		io.Copy(write, cmd.InOrStdin()) // until nobody reads any more, or the process ends
		write.Close()
	}()
	return asStatus(room.Enter(ctx, command, sandbox.Streams{In: read, Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr()}))
}

// terminal is what a user types on, or nil.
func terminal(cmd *cobra.Command) *os.File {
	if in, ok := cmd.InOrStdin().(*os.File); ok && host.IsTerminal(in) {
		return in
	}
	return nil
}

func onTerminal(ctx context.Context, stderr io.Writer, in *os.File, room *build.Room, command []string) (err error) {
	out, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	if len(command) == 0 {
		fmt.Fprintln(out, welcome(room))
	}
	t, err := host.OpenTerminal(in, out)
	if err != nil {
		return err
	}
	err = room.Enter(ctx, command, sandbox.Streams{In: t.File, Terminal: true, Out: stderr, Err: stderr})
	if err := t.Close(); err != nil {
		return err
	}
	var exit *host.ExitError
	if len(command) == 0 && errors.As(err, &exit) {
		return nil // the status of the last command that was typed
	}
	return asStatus(err)
}

// enterFailed opens a shell where a step has failed. The run ends with the step's error, which
// is told at once, since that is what the shell is for.
func enterFailed(ctx context.Context, cmd *cobra.Command, room *build.Room, log *slog.Logger) {
	fmt.Fprint(cmd.ErrOrStderr(), runtime.Explain(room.Err))
	if err := onTerminal(ctx, cmd.ErrOrStderr(), terminal(cmd), room, nil); err != nil {
		log.Warn("no shell in the failed step", "cause", err)
	}
}

// welcome says where a shell is.
func welcome(room *build.Room) string {
	text := "a shell in the root file system"
	if at := room.Beside(); at != "" {
		text = "a shell of this machine with the root file system in " + at
	}
	if s := room.Step; s != nil {
		text += fmt.Sprintf(", behind %s at %s", printable.Line(s.Label), printable.Line(s.At))
	}
	if names := room.Scripts(); len(names) > 0 {
		text += "; the step runs " + strings.Join(names, ", ")
	}
	return text + "; nothing of it is kept, exit leaves it"
}

// statusError is a command that has ended with a status, which it has explained itself.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// asStatus makes the exit status of a command that of this one.
func asStatus(err error) error {
	var exit *host.ExitError
	if errors.As(err, &exit) {
		return statusError(exit.Code)
	}
	return err
}
