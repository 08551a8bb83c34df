package builtins

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/sandbox"
)

// The words that run programs, inside an image or beside it, and the argument that says
// which.

// programs is an argument that says what to run: a script, a command line, or a list
// of command lines.
type programs []sandbox.Program

func (p *programs) Unpack(v starlark.Value) error {
	if script, ok := starlark.AsString(v); ok {
		first, rest, _ := strings.Cut(script, "\n")
		interpreter, ok := strings.CutPrefix(first, "#!")
		switch {
		case ok:
		case strings.TrimSpace(first) == "" || strings.TrimSpace(rest) != "":
			return errors.New(`the script does not begin with "#!", as one of several lines must; a command is a list of strings`)
		default:
			interpreter, script = "/bin/sh", "#!/bin/sh\n"+first+"\n"
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

// chroot_run(root, script, env={}, network=True, fresh=None, secrets=[]) runs programs inside
// the rootfs as root: a script that begins with "#!" or is one line for /bin/sh, a command
// as a list of strings, or a list of these, run one after the other as one step. Their environment is root.env
// and env; /proc, /sys, /dev, /run and /tmp are there, the image's resolv.conf is
// replaced by this machine's while they run, and standard input is empty. Nothing that
// they leave in /tmp, /run or /dev/shm, and no mount, outlasts the step, but in a session.
//
// With network=False they have no network, and the step is done again only when
// something above it in the recipe changes. With a network they may read what nobody
// knows, so the step is done again every UTC day; fresh may say better: a list of
// URLs (done again when one of them serves something else), "daily" or "never". "daily"
// may stand among the URLs, too: then either is a reason.
//
// secrets are names: while the programs run, /run/secrets/NAME is a file with what --secret
// NAME=FILE or the environment (IMAGEBUILDER_SECRET_NAME) has given. It is in no layer,
// log, plan, key or history, and its lines of four letters and more are stars in what
// programs print. A changed secret does not make the step be done again. There are none
// in a session, which keeps what is in /run.
//
// A program that fails ends the build with its status and last lines.
//
// Example:
//
//	chroot_run(root, "#!/bin/sh\nset -e\nsystemctl enable ssh\n", network = False)
//	chroot_run(root, ["useradd", "--create-home", "admin"], network = False)
func (b *Words) chrootRun(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *rootfs
	var script programs
	var env stringMap
	var secrets stringList
	network, fresh := true, freshness{}
	if err := unpackArgs(fn, args, kwargs, "root", &root, "script", &script, "env?", &env, "network?", &network, "fresh??", &fresh,
		"secrets?", &secrets); err != nil {
		return nil, err
	}
	if err := root.checkMutable("run anything in"); err != nil {
		return nil, err
	}
	for _, name := range secrets {
		if err := build.CheckSecretName(name); err != nil {
			return nil, Misuse{fmt.Errorf("chroot_run: secrets: %w", err)}
		}
	}
	if len(secrets) > 0 && root.root.InSession() {
		return nil, Misuse{errors.New("chroot_run: a session keeps what is in /run, where secrets are: give them to a step outside of it")}
	}
	environ, err := root.environ(env)
	if err != nil {
		return nil, err
	}
	guests, err := root.guests()
	if err != nil {
		return nil, err
	}
	s := b.newStep(thread, fn, root, arg("script", script.plain()))
	if slices.Equal(environ, root.usualEnviron()) {
		s.Also = build.Args{arg("env", environ)}
	} else {
		s.Args = append(s.Args, arg("env", environ))
	}
	if len(guests) > 0 {
		s.Also = append(s.Also, arg("guests", guests))
	}
	s.Fresh = fresh.or(network)
	if err := b.checkURLs(thread, s.Fresh.URLs...); err != nil {
		return nil, fmt.Errorf("chroot_run: fresh: %w", err)
	}
	if !network {
		s.Args = append(s.Args, arg("network", false))
	}
	return starlark.None, b.Worker.Change(Context(thread), s, build.RunInside(s, script, environ, guests, b.Secrets, secrets, network && !b.Offline))
}

// session(root, *steps) calls the functions one after the other with the rootfs. What
// programs inside it leave in /tmp, /run and /dev/shm, and what they mount and unmount, is
// there for the programs of the steps that follow, until the last function has returned.
// Then it goes: images never hold anything of it. So the rootfs cannot be packed, exported
// or forked meanwhile. What is mounted must be a tmpfs, a directory or file of the rootfs,
// or proc, sysfs, devpts or mqueue; other mounts end with their step, as its output says.
//
// Example:
//
//	def prepare(root):
//	    chroot_run(root, ["mkdir", "/tmp/work"], network = False)
//
//	def build(root):
//	    chroot_run(root, ["touch", "/tmp/work/done"], network = False)
//
//	session(root, prepare, build)
func (b *Words) session(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *rootfs
	var steps starlark.Tuple
	if len(args) > 0 {
		args, steps = args[:1], args[1:]
	}
	if err := unpackArgs(fn, args, kwargs, "root", &root); err != nil {
		return nil, err
	}
	for i, step := range steps {
		if _, ok := step.(starlark.Callable); !ok {
			return nil, fmt.Errorf("session: step %d: got %s, want a function that takes a rootfs", i+1, step.Type())
		}
	}
	if err := errors.Join(root.checkMutable("run anything in"), root.root.BeginSession()); err != nil {
		return nil, err
	}
	for _, step := range steps {
		if _, err := starlark.Call(thread, step, starlark.Tuple{root}, nil); err != nil {
			return nil, err
		}
	}
	end, needed := root.root.EndSession()
	if !needed {
		return starlark.None, nil
	}
	s := b.newStep(thread, fn, root, arg("ends", "/tmp, /run, /dev/shm"))
	return starlark.None, b.Worker.Change(Context(thread), s, end)
}

// host_run(root, command, files={}, env={}, network=True, fresh=None, needs={}, hidden=[])
// runs programs of this machine beside the rootfs, which they find at /tmp/rootfs, with
// the files as /tmp/files/NAME. All else is read-only to them, /dev has no devices of this
// machine, and the sockets of its services are out of reach. The command is as for
// chroot_run, and so are network and fresh. needs maps programs and absolute paths
// that this machine must have to the Debian packages that bring them; they are looked
// for before the build starts. hidden are files and directories of this machine that are
// empty to them. Libraries of others cannot call it.
//
// Example:
//
//	host_run(root, ["cp", "/tmp/files/motd", "/tmp/rootfs/etc/motd"], files = {"motd": local("motd")}, network = False)
func (b *Words) hostRun(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *rootfs
	var command programs
	var env, needs stringMap
	var files fileMap
	var hidden stringList
	network, fresh := true, freshness{}
	if err := unpackArgs(fn, args, kwargs, "root", &root, "command", &command, "files?", &files, "env?", &env,
		"network?", &network, "fresh??", &fresh, "needs?", &needs, "hidden?", &hidden); err != nil {
		return nil, err
	}
	if file := callingFile(thread); b.foreign(file) {
		return nil, Misuse{fmt.Errorf("host_run: %s is of a library, which cannot run programs of this machine: chroot_run runs those of the image", file)}
	}
	if err := root.checkMutable("run anything on"); err != nil {
		return nil, err
	}
	s := b.newStep(thread, fn, root, arg("command", command.plain()))
	if len(env) > 0 {
		s.Args = append(s.Args, arg("env", map[string]string(env)))
	}
	for _, f := range files {
		s.Args = append(s.Args, build.Arg{Name: f.Name, Value: f.File})
	}
	for _, name := range hidden {
		if !path.IsAbs(name) {
			return nil, fmt.Errorf("host_run: hidden: not an absolute path: %q", name)
		}
	}
	if len(hidden) > 0 {
		s.Also = build.Args{arg("hidden", []string(hidden))}
	}
	for _, name := range slices.Sorted(maps.Keys(needs)) {
		s.Needs = append(s.Needs, build.Need{Name: name, Package: needs[name]})
	}
	for _, p := range command {
		if p.Script == "" {
			s.Needs = append(s.Needs, build.Need{Name: p.Args[0]})
		}
	}
	s.Fresh = fresh.or(network)
	if err := b.checkURLs(thread, s.Fresh.URLs...); err != nil {
		return nil, fmt.Errorf("host_run: fresh: %w", err)
	}
	if !network {
		s.Args = append(s.Args, arg("network", false))
	}
	return starlark.None, b.Worker.Change(Context(thread), s, build.RunBeside(command, env, files, hidden, network && !b.Offline))
}

// installed(program) tells whether this machine has a program.
//
// Example:
//
//	packer = "mksquashfs" if installed("mksquashfs") else "imagebuilder"
//	pack_lxd(root, img, packer = packer)
func (b *Words) installed(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var program string
	if err := unpackArgs(fn, args, kwargs, "program", &program); err != nil {
		return nil, err
	}
	s := b.newStep(thread, fn, nil, arg("program", program))
	there, err := build.Ask(Context(thread), b.Worker, s, build.Installed(program))
	return starlark.Bool(there), err
}

// check_machine(machine) makes sure that programs of another machine run on this one, which is
// what a package that is installed here does, and no recipe can do. The machine has the
// name that the kernel gives it, "arm" being all of 32 bits. Where they do not run, the
// error says what to install.
//
// Example:
//
//	check_machine("aarch64")
func (b *Words) checkMachine(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var machine string
	if err := unpackArgs(fn, args, kwargs, "machine", &machine); err != nil {
		return nil, err
	}
	s := b.newStep(thread, fn, nil, arg("machine", machine))
	_, err := build.Ask(Context(thread), b.Worker, s, build.Emulated(machine))
	return starlark.None, err
}
