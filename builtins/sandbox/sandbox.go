// Package sandbox isolates: it runs programs, and tasks of other packages, in a child
// process with mount, PID, UTS and IPC namespaces of its own. Only the child mounts,
// changes root or sets a host name; all of it vanishes with the child, however that ends.
// What a step is for, what a task does and where a result is kept are no concern of this
// package, and neither is what distribution a root file system holds.
//
// The child is the tool's own binary: its main function, and TestMain of a test binary
// that uses sandboxes, call [Main] first and give it the tasks there are.
package sandbox

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"imagebuilder/builtins/host"
)

// A Spec says what the programs of one child see and may do.
type Spec struct {
	Root    *Stack      // their "/", with /proc, /dev and so on; nil: the host, read-only
	Mounts  []Mount     // what they see besides
	Guests  []Guest     // files that are laid over Root while they run
	Hidden  []string    // files and directories of the host that are empty to them
	Disk    []Partition // of a disk, on which Root seems to lie; empty: it is said to lie on none
	Secrets []Secret    // of Root: files in SecretsDir
	Session bool        // Root: /tmp, /run, /dev/shm and mounts are as the step before has left them
	NoSync  bool        // answer fsync and its kin with success, without doing anything
	NoNet   bool        // give them an empty network namespace

	// Proxy gives them a network namespace in which there is nothing but ProxyAddress. It is called
	// with a listener there, which is closed when they have ended, and returns then; nil: there is
	// none. It stays in this process.
	Proxy func(net.Listener)

	// AnyNode lets them make device nodes of any kind, none of which can be opened. Else
	// they can make the usual ones, such as /dev/null.
	AnyNode bool

	Grace time.Duration // from SIGTERM to SIGKILL; 0: host.DefaultGrace
}

// A Mount is something that programs see at a path below /tmp: another root file system,
// or a file or directory of the host. Nothing else of the host is writable to them.
type Mount struct {
	At         string
	Stack      *Stack // either
	Hidden     string // of Stack: this directory is empty to them
	Into       string // of Stack: they see an empty directory, and what they put there is moved into this one
	MaxSize    int64  // of Into: how many bytes they may put there; 0: any number
	MaxEntries int64  // of Into: how many files, directories and so on
	Source     string // or
	Writable   bool   // Source: may be changed
	FileSystem string // Source: it is the image of such a file system, of which they see the content, which they may change if it is writable
}

// A Guest is a file that is in a root file system while programs run there and not
// afterwards, unless they make it their own.
type Guest struct {
	Path    string
	Content []byte
	Mode    uint32

	// Over is for a file that hides one of the image, which comes back unless programs put
	// another in its place. Links on its way are followed. Another kind of guest gives
	// way to a file that is there, and stays away where its directory is not there.
	Over bool
}

// A Secret is a file in SecretsDir that only root can read, and of which nothing is to be left.
// Its lines of four bytes and more are hidden in what programs write.
type Secret struct {
	Name    string
	Content []byte
}

// SecretsDir is where programs find secrets, on a file system of their own.
const SecretsDir = "/run/secrets"

// RootfsDir is where programs of the host usually find a root file system, FilesDir
// where they find the files they are given.
const (
	RootfsDir = "/tmp/rootfs"
	FilesDir  = "/tmp/files"
)

// Programs are run one after the other, until one fails.
type Programs struct {
	List []Program
	Env  []string // all there is
}

// A Program is a script, run from memory by its #! line, or a command line.
type Program struct {
	Script string
	Args   []string
}

// ErrOverlay is the cause where the kernel does not mount an overlay on the directories
// it was given.
var ErrOverlay = errors.New("overlayfs is not supported here")

// orders are what a child is told.
type orders struct {
	Spec     Spec
	Programs *Programs
	Task     string     // or
	Stacks   []Stack    // of the task
	Args     []byte     // of the task
	Mount    *mountCall // or
	Files    int        // how many the task inherits, or 1: what programs read
	Terminal bool       // what they read is a terminal of theirs
	Proxy    bool       // the last file that it inherits is where the socket of Spec.Proxy goes
}

// reply is what a child reports.
type reply struct {
	Error   string
	Errno   syscall.Errno // the cause, where it was one
	Overlay bool          // the cause is ErrOverlay
	TooMuch bool          // or ErrTooMuch
	NotOurs bool          // or errNotOurs
	Failed  *failure
	Result  []byte // of a task
}

type failure struct {
	Args   []string
	Status string
	Code   int
}

// childName is the name under which the binary knows that it is the child.
const childName = "imagebuilder-sandbox"

// Run runs programs as spec says. Their output goes to out as it comes. One that fails
// gives a *host.ExitError; when ctx ends they get SIGTERM and a grace period, and Run
// returns the context's cause.
func Run(ctx context.Context, spec Spec, programs Programs, out io.Writer) error {
	return Attach(ctx, spec, programs, Streams{Out: out, Err: out})
}

// Streams are what programs read and write.
type Streams struct {
	In       *os.File // nil: there is nothing to be read
	Terminal bool     // In is a terminal, on which they write as well, and that is theirs alone
	Out, Err io.Writer
}

// Attach is Run for programs that somebody talks to.
func Attach(ctx context.Context, spec Spec, programs Programs, streams Streams) error {
	if spec.Grace == 0 {
		spec.Grace = host.DefaultGrace
	}
	if spec.Root == nil {
		spec.Hidden = slices.Concat(spec.Hidden, hostSockets())
	}
	flags := uintptr(syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC)
	if spec.NoNet || spec.Proxy != nil {
		flags |= syscall.CLONE_NEWNET
	}
	o := orders{Spec: spec, Programs: &programs, Terminal: streams.Terminal}
	c := child{flags: flags, out: streams.Out, err: streams.Err, hidden: hiddenLines(spec.Secrets), grace: spec.Grace}
	if streams.In != nil {
		o.Files, c.files = 1, []*os.File{streams.In}
	}
	if spec.Proxy == nil {
		_, err := spawn(ctx, o, c)
		return err
	}
	proxy, err := serveProxy(spec.Proxy)
	if err != nil {
		return err
	}
	o.Proxy, c.files = true, append(c.files, proxy.theirs)
	_, err = spawn(ctx, o, c)
	return errors.Join(err, proxy.end())
}

// A child is how the process of some orders is started.
type child struct {
	flags  uintptr // namespaces
	out    io.Writer
	err    io.Writer // may equal out
	hidden [][]byte  // texts that neither gets
	grace  time.Duration
	files  []*os.File // it inherits, from descriptor 5 on
}

// spawn has orders carried out in a child and returns what it reports.
func spawn(ctx context.Context, o orders, c child) ([]byte, error) {
	control, controlEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer control.Close()
	defer controlEnd.Close()
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer report.Close()

	// The child reads its orders while it starts; the pipe stays open behind them, so
	// that its end tells the child that this process is gone.
	go gob.NewEncoder(controlEnd).Encode(o)
	answers := make(chan reply, 1)
	go func() {
		var r reply
		if err := gob.NewDecoder(report).Decode(&r); err != nil {
			r.Error = "it ended without an answer"
		}
		answers <- r
	}()
	tail := new(host.Tail)
	out := &masker{w: io.MultiWriter(c.out, tail), hidden: c.hidden}
	errs := out
	if c.err != c.out {
		errs = &masker{w: io.MultiWriter(c.err, tail), hidden: c.hidden}
	}
	err = host.Command{
		Args:   []string{childName},
		Path:   "/proc/self/exe",
		Env:    childEnv(),
		Stdout: out,
		Stderr: errs,
		Files:  append([]*os.File{control, reportEnd}, c.files...),
		Attr:   &syscall.SysProcAttr{Cloneflags: c.flags},
		Grace:  c.grace + time.Second, // the child's own grace period ends first
	}.Run(ctx)
	reportEnd.Close()
	out.flush()
	errs.flush()
	r := <-answers
	return r.Result, r.err(err, tail)
}

// childEnv is the environment of the child, not of the programs that it starts. Go would
// keep files of the host's cgroups open to follow their limits; tests under the race
// detector would wait a second at the end of every child.
func childEnv() []string {
	env := []string{"GODEBUG=containermaxprocs=0,updatemaxprocs=0"}
	if race, ok := os.LookupEnv("GORACE"); ok {
		env = append(env, "GORACE="+race)
	}
	return env
}

// err makes one error of what the child reported and of how it ended.
func (r reply) err(ended error, tail *host.Tail) error {
	var exit *host.ExitError
	switch {
	case ended != nil && !errors.As(ended, &exit):
		return ended // cancelled, or not started
	case r.Failed != nil:
		return &host.ExitError{Args: r.Failed.Args, Err: errors.New(r.Failed.Status), Code: r.Failed.Code, Output: tail.String()}
	case r.Overlay:
		return causedBy{r.Error, ErrOverlay}
	case r.TooMuch:
		return causedBy{r.Error, ErrTooMuch}
	case r.Errno != 0:
		return causedBy{r.Error, r.Errno}
	case r.Error != "" && exit != nil:
		return fmt.Errorf("sandbox: %s (%v)\n%s", r.Error, exit.Err, exit.Output)
	case r.Error != "":
		return errors.New(r.Error)
	}
	return nil
}

// causedBy carries the cause of an error across the process boundary.
type causedBy struct {
	text  string
	cause error
}

func (e causedBy) Error() string { return e.text }
func (e causedBy) Unwrap() error { return e.cause }
