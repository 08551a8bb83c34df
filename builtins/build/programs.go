package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/magic"
	"imagebuilder/builtins/pkgproxy"
	"imagebuilder/builtins/sandbox"
)

// Effects that run programs: of the image, or of this machine beside it. They share the way
// to the network, and nothing else of the caller's environment.

// RunInside runs programs inside the root file system of a step, as root, with the guests of
// its package manager, this machine's resolv.conf, and secrets by their names.
func RunInside(s *Step, programs []sandbox.Program, environ []string, guests []sandbox.Guest, secrets Secrets, names []string, network bool) Change {
	session := s.Root.join()
	s.withSecrets(names)
	if len(names) > 0 {
		s.Ready = func(context.Context) error { _, err := secrets.all(names); return err }
	}
	if session {
		s.Also = append(s.Also, Arg{"session", true})
	}
	d := s.Root.Disk
	environ, guests = s.Root.onDisk(s, environ, guests)
	return run(running{programs: sandbox.Programs{List: programs, Env: environ}, network: network, spec: func(ctx context.Context, b *Builder, stack sandbox.Stack) (sandbox.Spec, error) {
		resolver, err := resolvConf()
		if err != nil {
			return sandbox.Spec{}, err
		}
		partitions, err := b.partitions(ctx, d, stack)
		if err != nil {
			return sandbox.Spec{}, err
		}
		given, err := secrets.all(names)
		return sandbox.Spec{
			Secrets: given, Root: &stack, Disk: partitions, Guests: append(resolver, guests...), Session: session, NoSync: true, NoNet: !network,
		}, err
	}})
}

// A running is programs, and what they see and may do.
type running struct {
	programs sandbox.Programs
	spec     func(context.Context, *Builder, sandbox.Stack) (sandbox.Spec, error)
	beside   bool // they are of this machine
	network  bool // they have one
}

// run is the change that is made by programs, which must not change what they read.
func run(r running, reads ...*File) Change {
	return Change{Runs: &r, Reads: reads, Do: func(ctx context.Context, b *Builder, stack sandbox.Stack, out io.Writer) error {
		spec, err := r.spec(ctx, b, stack)
		if err != nil {
			return err
		}
		explain := b.confine(r, &spec)
		return explain(sandbox.Run(ctx, spec, b.surrounded(r), out))
	}}
}

// surrounded are the programs with what their environment says of the epoch and of the way out,
// if they have one.
func (b *Builder) surrounded(r running) sandbox.Programs {
	programs := r.programs
	if b != nil {
		programs.Env = b.Epoch.In(programs.Env)
	}
	switch {
	case r.network && b.lock() != nil:
		programs.Env = throughLock(programs.Env)
	case r.network:
		programs.Env = withProxies(programs.Env, b.packageProxy())
	}
	return programs
}

// packageProxy is the proxy that keeps packages, "" if there is none. It is started for the
// first program that can use it.
func (b *Builder) packageProxy() string {
	if b == nil || b.Store == nil {
		return ""
	}
	if b.packages == nil {
		proxy, err := pkgproxy.Start(pkgproxy.Options{Dir: b.Store.Packages(), Refresh: b.Store.Refreshing(), Log: b.Log})
		if err != nil {
			b.Log.Warn("packages are not kept for later builds", "cause", err)
			return ""
		}
		b.packages = proxy
	}
	return b.packages.URL()
}

// resolvConf lays this machine's resolv.conf over the image's.
func resolvConf() ([]sandbox.Guest, error) {
	const name = "/etc/resolv.conf"
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a host without network
	}
	return []sandbox.Guest{{Path: name, Content: data, Mode: 0o644, Over: true}}, err
}

// A NamedFile is a file under the name that a program finds it by.
type NamedFile struct {
	Name string
	File *File
}

// RunBeside runs programs of this machine beside the root file system, which they find at
// sandbox.RootfsDir, with files in sandbox.FilesDir. What is hidden of the machine is empty
// to them.
func RunBeside(programs []sandbox.Program, env map[string]string, files []NamedFile, hidden []string, network bool) Change {
	var reads []*File
	for _, f := range files {
		reads = append(reads, f.File)
	}
	return run(running{beside: true, programs: sandbox.Programs{List: programs, Env: host.Environ(env)}, network: network, spec: func(_ context.Context, _ *Builder, stack sandbox.Stack) (sandbox.Spec, error) {
		return sandbox.Spec{Mounts: beside(stack, files), Hidden: hidden, NoSync: true, NoNet: !network}, nil
	}}, reads...)
}

// beside is what programs of this machine see of an image.
func beside(stack sandbox.Stack, files []NamedFile) []sandbox.Mount {
	mounts := []sandbox.Mount{{At: sandbox.RootfsDir, Stack: &stack}}
	for _, f := range files {
		mounts = append(mounts, sandbox.Mount{At: path.Join(sandbox.FilesDir, f.Name), Source: f.File.path})
	}
	return mounts
}

// withProxies adds the variables that tell programs the way out, unless the environment
// says them itself: what is fetched by plain HTTP comes through our own proxy, which knows that
// of the caller. They are no part of a step's key: they are this machine's business.
func withProxies(environ []string, own string) []string {
	var list []string
	for _, name := range []string{"http_proxy", "https_proxy", "ftp_proxy", "no_proxy"} {
		said := slices.ContainsFunc(environ, func(v string) bool {
			key, _, _ := strings.Cut(v, "=")
			return strings.EqualFold(key, name)
		})
		for _, key := range []string{name, strings.ToUpper(name)} {
			value := os.Getenv(key)
			if key == "http_proxy" && own != "" { // in this spelling all know it
				value = own
			}
			if !said && value != "" {
				list = append(list, key+"="+value)
			}
		}
	}
	return append(list, environ...)
}

// Installed asks whether this machine has a program, or a file of an absolute path.
func Installed(program string) Question[bool] {
	return Question[bool]{
		What: "installed",
		Find: func(_ context.Context, b *Builder) (bool, error) { return b.installed(program) },
		Assume: func(p *Planner) (bool, bool) {
			if chosen, ok := chosenBy(p.Lock, p.Tools, program); ok {
				return chosen, true
			}
			return p.has(program), true
		},
	}
}

// Emulated asks whether this machine runs programs of another one, by the kernel's name of
// it. That it does not is an error.
func Emulated(machine string) Question[bool] {
	return Question[bool]{
		What: "emulated",
		Find: func(ctx context.Context, _ *Builder) (bool, error) {
			runs, err := host.Runs(ctx, magic.Programs(machine))
			if runs || err != nil {
				return runs, err
			}
			return false, fmt.Errorf("this machine runs no programs for %s; %s", machine, host.Emulators)
		},
		Assume: func(*Planner) (bool, bool) { return true, true }, // else there is nothing to plan
	}
}
