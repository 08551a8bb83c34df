package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"imagebuilder/compat"
	"imagebuilder/runtime"
)

// The command that evaluates what is typed. The editor of lines is in lineeditor.go.

func newReplCommand() *cobra.Command {
	var recipe recipeOptions
	cmd := &cobra.Command{
		Use:   "repl [RECIPE]",
		Short: "Try out the words of recipes",
		Long: `Evaluate statements as they are typed, with the words of recipes and the names of a
recipe. Words plan: each shows the steps that a run would do, and nothing is done. A
statement of several lines ends with an empty one. help(WORD) explains a word, _ is the
last value.

On a terminal, Tab completes words and attributes, the arrow keys bring back what was typed
before, also in another session, Ctrl-C gives a line up and Ctrl-D ends. Statements that are
read from elsewhere are evaluated one by one; it fails if one of them does.`,
		Example: `  imagebuilder repl
  imagebuilder repl ./my.star -o release=trixie
  echo 'main()' | imagebuilder repl debian`,
		Args: args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			config, err := recipe.sessionConfig(cmd)
			if err != nil {
				return err
			}
			o := runtime.SessionOptions{
				Config: config,
				Print:  func(text string) { fmt.Fprintln(cmd.OutOrStdout(), text) },
				Help: func(name string) error {
					sections, err := runtime.Reference(cmd.Context())
					if err != nil {
						return err
					}
					return showEntries(cmd.OutOrStdout(), sections, []string{name})
				},
			}
			if len(args) > 0 {
				o.Recipe = args[0]
			}
			session, err := compat.OpenSession(cmd.Context(), recipe.set, o)
			if err != nil {
				return err
			}
			if term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())) {
				editor := newLineEditor(int(os.Stdin.Fd()), os.Stdin, os.Stdout, openHistory(historyFile()), session.Complete)
				_, err := converse(cmd, session, editor.readLine)
				return err
			}
			failed, err := converse(cmd, session, lineReader(cmd.InOrStdin()))
			if err == nil && failed > 0 {
				err = fmt.Errorf("%d statements failed", failed)
			}
			return err
		},
	}
	recipe.addFlags(cmd)
	addOfflineFlag(cmd)
	return cmd
}

// sessionConfig is how the recipe of a session is evaluated.
func (o *recipeOptions) sessionConfig(cmd *cobra.Command) (runtime.Config, error) {
	config, err := runtimeConfig(cmd, logOptions{})
	if err == nil {
		config.Secrets, err = o.givenSecrets()
	}
	return config, err
}

// errInterrupted is a line that was given up.
var errInterrupted = errors.New("interrupted")

// converse evaluates statements until there are no more, and returns how many have failed.
func converse(cmd *cobra.Command, session *runtime.Session, readLine func(prompt string) (string, error)) (failed int, err error) {
	out, n := cmd.OutOrStdout(), 0
	for cmd.Context().Err() == nil {
		prompt := ">>> "
		value, steps, err := session.Eval(func() (string, error) {
			line, err := readLine(prompt)
			prompt = "... "
			return line, err
		})
		for _, step := range steps {
			n++
			printStep(out, n, step)
		}
		switch {
		case errors.Is(err, io.EOF):
			return failed, nil
		case errors.Is(err, errInterrupted):
		case err != nil:
			failed++
			fmt.Fprint(cmd.ErrOrStderr(), runtime.Explain(err))
		case value != "":
			fmt.Fprintln(out, value)
		}
	}
	return failed, cmd.Context().Err()
}

// lineReader reads lines without a prompt. The end of the text is also the end of a statement
// of several lines, as an empty line is.
func lineReader(r io.Reader) func(prompt string) (string, error) {
	lines := bufio.NewReader(r)
	ended := false
	return func(string) (string, error) {
		line, err := lines.ReadString('\n')
		if err == io.EOF && !ended {
			ended = line == ""
			return line, nil
		}
		if err != nil {
			return "", err
		}
		return line[:len(line)-1], nil
	}
}
