package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/magic"
)

// One program: how it is found and started inside a root that is not this process's own.

// defaultPath is where programs are looked up when the step's environment has no PATH.
const defaultPath = "/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"

// run starts one program and waits for it.
func (r runner) run(in *host.Init, p Program, env []string) error {
	input := r.in.File
	if input == nil {
		null, err := r.root.OpenFile("/dev/null", unix.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer null.Close()
		input = null
	}
	attr := &os.ProcAttr{
		Dir:   "/" + r.dir,
		Env:   env,
		Files: []*os.File{input, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Chroot: r.chroot},
	}
	if r.in.terminal {
		attr.Files = []*os.File{input, input, input}
		attr.Sys.Setsid, attr.Sys.Setctty = true, true
	}
	if p.Script == "" {
		file, err := r.find(p.Args[0], env)
		if err != nil {
			return fmt.Errorf("cannot run %s: %w", p.Args[0], err)
		}
		return r.explain(file, in.Run(file, p.Args, attr))
	}
	if err := r.checkInterpreter(p.Script); err != nil {
		return fmt.Errorf("cannot run the script: %w", err)
	}
	// The script lives in memory: nothing of it is ever in the image, and a read-only
	// or noexec /tmp does not matter.
	script, err := memoryFile(p.Script)
	if err != nil {
		return fmt.Errorf("cannot hold the script in memory: %w", err)
	}
	defer script.Close()
	attr.Files = append(attr.Files, script)
	interpreter, _ := interpreterOf(p.Script)
	return r.explain(interpreter, in.Run("/proc/self/fd/3", []string{"script"}, attr))
}

// explain says why the kernel does not take a file for a program, if it was made for another
// machine.
func (r runner) explain(name string, err error) error {
	if !errors.Is(err, unix.ENOEXEC) {
		return err
	}
	head, readErr := r.head(name)
	if interpreter, ok := interpreterOf(string(head)); readErr == nil && ok { // it is a script itself
		name = interpreter
		head, readErr = r.head(name)
	}
	machine := magic.Machine(head)
	if readErr != nil || machine == "" {
		return err
	}
	if machine == host.Machine() { // an emulator is of no use
		return fmt.Errorf("%w: %s is a program for this machine, but damaged", err, name)
	}
	return fmt.Errorf("%w: %s is a program for %s; %s", err, name, machine, host.Emulators)
}

// explainBeside says why a program of the host has failed, if that may be since it has
// started one in a root file system beside it that was made for another machine: the shell
// there does not run.
func (r runner) explainBeside(in *host.Init, err error) error {
	var failed *host.ExitError
	if !errors.As(err, &failed) {
		return err
	}
	for _, m := range r.spec.Mounts {
		if m.Stack == nil {
			continue
		}
		if shell := r.tryShell(in, m.At); errors.Is(shell, unix.ENOEXEC) {
			failed.Err = fmt.Errorf("%w; in %s: %w", failed.Err, m.At, shell)
		}
	}
	return err
}

// tryShell runs the shell of another root file system than the programs' own. One that
// cannot be tried is no reason for anything.
func (r runner) tryShell(in *host.Init, at string) error {
	root, err := r.root.Sub(at)
	if err != nil {
		return err
	}
	defer root.Close()
	null, err := r.root.OpenFile("/dev/null", unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	other := runner{root: root, chroot: path.Join(r.chroot, at), spec: r.spec}
	return other.explain("/bin/sh", in.Run("/bin/sh", []string{"sh", "-c", ":"}, &os.ProcAttr{
		Dir: "/", Files: []*os.File{null, null, null}, Sys: &syscall.SysProcAttr{Chroot: other.chroot},
	}))
}

// head returns the beginning of a file.
func (r runner) head(name string) ([]byte, error) {
	f, err := r.root.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return magic.Head(f)
}

// interpreterOf returns the interpreter that a script names.
func interpreterOf(script string) (string, bool) {
	line, _, _ := strings.Cut(script, "\n")
	line, ok := strings.CutPrefix(line, "#!")
	fields := strings.Fields(line)
	if !ok || len(fields) == 0 {
		return "", false
	}
	return fields[0], true
}

func memoryFile(text string) (*os.File, error) {
	fd, err := unix.MemfdCreate("script", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "script")
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// find looks a program up as execvp(3) would inside the root.
func (r runner) find(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, r.executable(name)
	}
	dirs := defaultPath
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			dirs = value
		}
	}
	for _, dir := range strings.Split(dirs, ":") {
		if file := path.Join("/", dir, name); r.executable(file) == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("there is no such program in %s", dirs)
}

func (r runner) executable(name string) error {
	f, err := r.root.OpenFile(name, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("%s is not executable", name)
	}
	return nil
}

// checkInterpreter says what the kernel would only call "no such file".
func (r runner) checkInterpreter(script string) error {
	interpreter, ok := interpreterOf(script)
	if !ok {
		return errors.New("its first line names no interpreter")
	}
	if err := r.executable(interpreter); err != nil {
		return fmt.Errorf("its interpreter %s is not in the image: %w", interpreter, err)
	}
	return nil
}
