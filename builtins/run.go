package builtins

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
)

// programs is an argument that says what to run: a script, a command line, or a list
// of command lines.
type programs []sandbox.Program

func (p *programs) Unpack(v starlark.Value) error {
	if script, ok := starlark.AsString(v); ok {
		first, _, _ := strings.Cut(script, "\n")
		interpreter, ok := strings.CutPrefix(first, "#!")
		if !ok {
			return errors.New(`the script does not begin with "#!"; a command is a list of strings`)
		}
		*p = programs{{Script: script}}
		if !utf8.ValidString(script) {
			return errors.New("the script is not UTF-8")
		}
		return checkInterpreter(interpreter)
	}
	list, ok := v.(starlark.Sequence)
	if _, isDict := v.(*starlark.Dict); !ok || isDict {
		return fmt.Errorf("got %s, want a script or a command as a list of strings", v.Type())
	}
	if list.Len() == 0 {
		return errors.New("the command is empty")
	}
	iter := list.Iterate()
	defer iter.Done()
	var x starlark.Value
	for i := 0; iter.Next(&x); i++ {
		if word, ok := starlark.AsString(x); ok && i == 0 && !strings.HasPrefix(word, "#!") {
			var command stringList
			err := command.Unpack(v)
			*p = programs{{Args: command}}
			if err != nil {
				return err
			}
			return checkCommand(command)
		}
		var one programs
		if err := one.Unpack(x); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
		*p = append(*p, one...)
	}
	return nil
}

// checkInterpreter checks what stands behind the "#!" of a script.
func checkInterpreter(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return errors.New(`the script names no interpreter behind its "#!"`)
	case strings.HasSuffix(text, "\r"): // the kernel takes it for a part of the name
		return errors.New("the first line of the script ends in a carriage return; save it with the line ends of Unix")
	}
	return checkText(text)
}

func checkCommand(args []string) error {
	if args[0] == "" {
		return errors.New("the command has an empty name")
	}
	return checkText(strings.Join(args, " "))
}

// plain shows the programs as they were given.
func (p programs) plain() any {
	list := make([]any, len(p))
	for i, one := range p {
		list[i] = []string(one.Args)
		if one.Script != "" {
			list[i] = one.Script
		}
	}
	if len(list) == 1 {
		return list[0]
	}
	return list
}

// chroot_run(root, script, env={}, network=True, fresh=None) runs programs inside the
// rootfs as root: a script that begins with "#!", a command as a list of strings, or
// a list of these, run one after the other as one step. Their environment is root.env
// and env; /proc, /sys, /dev, /run and /tmp are there, the image's resolv.conf is
// replaced by this machine's while they run, and standard input is empty.
//
// With network=False they have no network, and the step is done again only when
// something above it in the recipe changes. With a network they may read what nobody
// knows, so the step is done again every UTC day; fresh may say better: a list of
// URLs (done again when one of them serves something else), "daily" or "never".
//
// A program that fails ends the build with its status and last lines.
func (b *Build) chrootRun(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *Rootfs
	var script programs
	var env stringMap
	network, fresh := true, freshness{}
	if err := unpackArgs(fn, args, kwargs, "root", &root, "script", &script, "env?", &env, "network?", &network, "fresh??", &fresh); err != nil {
		return nil, err
	}
	if err := root.checkMutable("run anything in"); err != nil {
		return nil, err
	}
	environ, err := root.environ(env)
	if err != nil {
		return nil, err
	}
	s := b.newStep(thread, fn, root, Arg{"script", script.plain()})
	if !slices.Equal(environ, defaultEnviron) {
		s.Args = append(s.Args, Arg{"env", environ})
	}
	s.Fresh = fresh.or(network)
	if !network {
		s.Args = append(s.Args, Arg{"network", false})
	}
	s.Spec = sandbox.Spec{
		Chroot: &sandbox.Chroot{Programs: script, Env: withProxies(environ, network)},
		NoSync: true,
		NoNet:  !network,
	}
	return starlark.None, b.Worker.Change(Context(thread), s)
}

// freshness is the argument fresh, which may be left out.
type freshness struct{ *Freshness }

func (f *freshness) Unpack(v starlark.Value) error {
	f.Freshness = new(Freshness)
	return f.Freshness.Unpack(v)
}

func (f freshness) or(network bool) Freshness {
	if f.Freshness == nil {
		return Freshness{Daily: network}
	}
	return *f.Freshness
}

// withProxies adds the variables that tell programs the way out, unless the environment
// says them itself. They are no part of a step's key: they are this machine's business.
func withProxies(environ []string, network bool) []string {
	var list []string
	for _, name := range []string{"http_proxy", "https_proxy", "ftp_proxy", "no_proxy"} {
		said := slices.ContainsFunc(environ, func(v string) bool {
			key, _, _ := strings.Cut(v, "=")
			return strings.EqualFold(key, name)
		})
		for _, key := range []string{name, strings.ToUpper(name)} {
			if value := os.Getenv(key); network && !said && value != "" {
				list = append(list, key+"="+value)
			}
		}
	}
	return append(list, environ...)
}

// host_run(root, command, files={}, env={}, network=True, fresh=None, needs={}) runs
// programs of this machine beside the rootfs, which they find at /tmp/rootfs, with
// the files as /tmp/files/NAME. All else is read-only to them. The command is as for
// chroot_run, and so are network and fresh. needs maps programs and absolute paths
// that this machine must have to the Debian packages that bring them; they are looked
// for before the build starts.
func (b *Build) hostRun(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *Rootfs
	var command programs
	var env, needs stringMap
	var files fileMap
	network, fresh := true, freshness{}
	if err := unpackArgs(fn, args, kwargs, "root", &root, "command", &command, "files?", &files, "env?", &env,
		"network?", &network, "fresh??", &fresh, "needs?", &needs); err != nil {
		return nil, err
	}
	if err := root.checkMutable("run anything on"); err != nil {
		return nil, err
	}
	s := b.newStep(thread, fn, root, Arg{"command", command.plain()})
	if len(env) > 0 {
		s.Args = append(s.Args, Arg{"env", map[string]string(env)})
	}
	spec := &sandbox.Host{Programs: command, Env: withProxies(host.Environ(env), network)}
	for _, f := range files {
		s.Args = append(s.Args, Arg{f.name, f.file})
		spec.Files = append(spec.Files, sandbox.File{Name: f.name, Source: f.file.path})
	}
	for _, name := range sortedKeys(needs) {
		s.Needs = append(s.Needs, Need{Name: name, Package: needs[name]})
	}
	for _, p := range command {
		if p.Script == "" {
			s.Needs = append(s.Needs, Need{Name: p.Args[0]})
		}
	}
	s.Fresh = fresh.or(network)
	if !network {
		s.Args = append(s.Args, Arg{"network", false})
	}
	s.Spec = sandbox.Spec{Host: spec, NoSync: true, NoNet: !network}
	return starlark.None, b.Worker.Change(Context(thread), s)
}

// installed(program) tells whether this machine has a program.
func (b *Build) installed(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var program string
	if err := unpackArgs(fn, args, kwargs, "program", &program); err != nil {
		return nil, err
	}
	return starlark.Bool(b.Worker.Installed(program)), nil
}
