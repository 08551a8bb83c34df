package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/packages"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
	"imagebuilder/builtins/treetask"
)

// Root file systems that somebody enters, to look what a step has done or why it has failed.

// A Room is a root file system to be entered. What is changed there is not kept.
type Room struct {
	Step *Step // the last that was done to it; nil: nobody knows
	Err  error // why that has failed; nil: it has not

	Offline bool // without a network, whatever the step has

	builder *Builder
	runs    *running // the step; nil: no programs
	stack   sandbox.Stack
}

// Enter runs a command line, nil for a shell, as the step runs its programs: with what they
// see, and in their environment. It returns the error of the command.
func (r *Room) Enter(ctx context.Context, args []string, streams sandbox.Streams) error {
	runs := r.runs
	if runs == nil {
		session := r.Step != nil && r.Step.Root.session == inUse
		runs = &running{programs: sandbox.Programs{Env: plainEnviron}, network: !r.Offline, spec: plainSpec(session)}
	}
	stack := r.stack
	if r.Err != nil && stack.Work != "" { // the kernel uses one once
		work, err := os.MkdirTemp(filepath.Dir(stack.Work), "work")
		if err != nil {
			return err
		}
		stack.Work = work
	}
	spec, err := runs.spec(ctx, r.builder, stack)
	if err != nil {
		return err
	}
	spec.NoNet = spec.NoNet || r.Offline
	env := slices.Clone(r.builder.surrounded(*runs).Env)
	if streams.Terminal {
		env = append(env, "TERM="+cmp.Or(os.Getenv("TERM"), "dumb"))
	}
	for i, name := range r.Scripts() {
		spec.Guests = append(spec.Guests, sandbox.Guest{Path: name, Content: []byte(asScript(runs.programs.List[i])), Mode: 0o755})
	}
	shell := len(args) == 0
	if shell {
		args = []string{"/bin/sh", "-c", "command -v bash >/dev/null && exec bash; exec sh"}
	}
	explain := r.builder.confine(*runs, &spec)
	err = explain(sandbox.Attach(ctx, spec, sandbox.Programs{List: []sandbox.Program{{Args: args}}, Env: env}, streams))
	var exit *host.ExitError
	if shell && err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("cannot open a shell there: %w", err)
	}
	return err
}

// Survey tells where the bytes of a directory are, as it was when the room was entered, and names
// so many of the largest.
func (r *Room) Survey(ctx context.Context, dir string, names int) (tree.Survey, error) {
	return treetask.Surveying.Run(ctx, []sandbox.Stack{r.reading()}, treetask.Region{Dir: dir, Names: names})
}

// Packages are those that a directory has, as it was when the room was entered.
func (r *Room) Packages(ctx context.Context, dir string) (packages.List, error) {
	return treetask.Packaging.Run(ctx, []sandbox.Stack{r.reading()}, dir)
}

// Read returns the content of a file, as it was when the room was entered.
func (r *Room) Read(ctx context.Context, name string) ([]byte, error) {
	answer, err := treetask.Looking.Run(ctx, []sandbox.Stack{r.reading()}, tree.Look{Op: "read", Path: name})
	return answer.Data, err
}

// reading is the root file system as nobody has changed it.
func (r *Room) reading() sandbox.Stack {
	stack := r.stack
	stack.Upper, stack.Work = "", ""
	return stack
}

// Scripts are the files in which those who enter find what the step runs.
func (r *Room) Scripts() []string {
	const name = "/tmp/script"
	if r.runs == nil || r.runs.beside {
		return nil
	}
	names := make([]string, len(r.runs.programs.List))
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", name, i+1)
	}
	if len(names) == 1 {
		names[0] = name
	}
	return names
}

// Beside tells where those who enter find the root file system, if it is not their own; "": it
// is.
func (r *Room) Beside() string {
	if r.runs != nil && r.runs.beside {
		return sandbox.RootfsDir
	}
	return ""
}

// asScript is a program as a file to be run by hand.
func asScript(p sandbox.Program) string {
	if p.Script != "" {
		return p.Script
	}
	return "#!/bin/sh\nexec " + host.Quote(p.Args) + "\n"
}

// plainEnviron is the environment in a root file system of which nothing else is known.
var plainEnviron = []string{"HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "USER=root"}

// plainSpec is what those see who enter a root file system after something else than programs.
func plainSpec(session bool) func(context.Context, *Builder, sandbox.Stack) (sandbox.Spec, error) {
	return func(_ context.Context, _ *Builder, stack sandbox.Stack) (sandbox.Spec, error) {
		resolver, err := resolvConf()
		return sandbox.Spec{Root: &stack, Guests: resolver, Session: session, NoSync: true}, err
	}
}
