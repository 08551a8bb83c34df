package host

import (
	"bytes"
	"context"
	"io"
	"strings"
)

// A Program is one that is found before it is needed, by those who will not see the host: its
// file, looked up by its name if that is empty, and its environment, nil for the caller's own.
type Program struct {
	Path string
	Env  []string
}

// Command calls the program by its name and with arguments. It leaves no input and no output
// to chance.
func (p Program) Command(args []string, in io.Reader, out io.Writer) Command {
	return Command{Args: args, Path: p.Path, Env: p.Env, Stdin: in, Stdout: out}
}

// Version is all that a program says of its version, on one line.
func (p Program) Version(ctx context.Context, name string) (string, error) {
	var out bytes.Buffer
	err := p.Command([]string{name, "--version"}, nil, &out).Run(ctx)
	return strings.Join(strings.Fields(out.String()), " "), err
}
