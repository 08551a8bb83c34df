// Package sandbox carries out one step of a build in a child process with mount,
// PID, UTS and IPC namespaces of its own. Only the child mounts, changes root or
// sets a host name; all of it vanishes with the child, however that ends. What a
// step is for, and where its result is kept, is no concern of this package.
//
// The child is the tool's own binary: its main function, and TestMain of a test
// binary that runs sandboxes, call [Main] first.
package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/tree"
)

// Rootfs says how the root file system of a step is put together.
type Rootfs struct {
	Lower    []string // layers, the lowest first
	Upper    string   // directory that takes the changes; empty: the step only reads
	Work     string   // empty directory on the file system of Upper, for overlayfs
	Dir      string   // a plain directory that is changed in place, instead of all these
	ReadOnly bool     // Dir is not to be changed
	Point    string   // empty directory of the host to mount on, in the child's namespace only
}

// Spec is what one child does: exactly one of Chroot, Host, Edits, Look and Copy.
type Spec struct {
	Rootfs Rootfs
	Chroot *Chroot
	Host   *Host
	Edits  []tree.Edit
	Look   *Look
	Copy   *Copy
	NoSync bool          // answer fsync and its kin with success, without doing anything
	NoNet  bool          // give the step an empty network namespace
	Grace  time.Duration // from SIGTERM to SIGKILL; 0: host.DefaultGrace
}

// A Program is a script, run from memory by its #! line, or a command line.
type Program struct {
	Script string   `json:",omitempty"`
	Args   []string `json:",omitempty"`
}

// Chroot runs programs inside the rootfs, one after the other.
type Chroot struct {
	Programs []Program
	Env      []string // all there is
}

// Host runs programs of the host beside the rootfs: the whole host is read-only to
// them, /tmp is empty and private, and the rootfs is at RootfsDir.
type Host struct {
	Programs []Program
	Env      []string // all there is
	Files    []File   // further files and directories they see
}

// RootfsDir is where programs of the host find the rootfs, FilesDir where they find
// the files they were given.
const (
	RootfsDir = "/tmp/rootfs"
	FilesDir  = "/tmp/files"
)

// File is something of the host that a program sees as FilesDir/Name.
type File struct {
	Name     string
	Source   string
	Writable bool
}

// Look asks a question about the files of a rootfs.
type Look struct {
	Op   string // read, exists, glob, readlink, devices
	Path string
}

// Answer is the answer to a Look.
type Answer struct {
	Found bool     // whether Path is there
	Data  []byte   // read: the content; readlink: the text
	Names []string // glob, devices: the paths
}

// Copy copies the rootfs to a directory of the host.
type Copy struct {
	To    string
	Merge bool // into what is there
}

// reply is what the child reports.
type reply struct {
	Error  string
	Errno  syscall.Errno // the cause, where it was one
	Failed *failure
	Answer Answer
}

type failure struct {
	Args   []string
	Status string
}

// ErrOverlay is the cause where the kernel does not mount an overlay on the
// directories it was given.
var ErrOverlay = errors.New("overlayfs is not supported here")

// childName is the name under which the binary knows that it is the child.
const childName = "imagebuilder-sandbox"

// Run carries out spec in a child. The output of its programs goes to out as it
// comes. A program that fails gives a *host.ExitError; when ctx ends, the programs
// get SIGTERM and a grace period, and Run returns the context's cause.
func Run(ctx context.Context, spec Spec, out io.Writer) (Answer, error) {
	if spec.Grace == 0 {
		spec.Grace = host.DefaultGrace
	}
	control, controlEnd, err := os.Pipe()
	if err != nil {
		return Answer{}, err
	}
	defer control.Close()
	defer controlEnd.Close()
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return Answer{}, err
	}
	defer report.Close()

	// The child reads its orders while it starts; the pipe stays open behind them, so
	// that its end tells the child that this process is gone.
	go json.NewEncoder(controlEnd).Encode(spec)
	answers := make(chan reply, 1)
	go func() {
		var r reply
		if err := json.NewDecoder(report).Decode(&r); err != nil {
			r.Error = "it ended without an answer"
		}
		answers <- r
	}()
	tail := new(host.Tail)
	err = child(ctx, spec, io.MultiWriter(out, tail), control, reportEnd)
	reportEnd.Close()
	r := <-answers
	return r.Answer, r.err(err, tail)
}

func child(ctx context.Context, spec Spec, out io.Writer, control, report *os.File) error {
	flags := uintptr(syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC)
	if spec.NoNet {
		flags |= syscall.CLONE_NEWNET
	}
	return host.Command{
		Args:   []string{childName},
		Path:   "/proc/self/exe",
		Env:    []string{},
		Stdout: out,
		Stderr: out,
		Files:  []*os.File{control, report},
		Attr:   &syscall.SysProcAttr{Cloneflags: flags},
		Grace:  spec.Grace + time.Second, // the child's own grace period ends first
	}.Run(ctx)
}

// err makes one error of what the child reported and of how it ended.
func (r reply) err(ended error, tail *host.Tail) error {
	var exit *host.ExitError
	switch {
	case ended != nil && !errors.As(ended, &exit):
		return ended // cancelled, or not started
	case r.Failed != nil:
		return &host.ExitError{Args: r.Failed.Args, Err: errors.New(r.Failed.Status), Output: tail.String()}
	case r.Error == ErrOverlay.Error():
		return ErrOverlay
	case r.Errno != 0:
		return causedBy{r.Error, r.Errno}
	case r.Error != "" && exit != nil:
		return fmt.Errorf("sandbox: %s (%v)\n%s", r.Error, exit.Err, exit.Output)
	case r.Error != "":
		return errors.New(r.Error)
	}
	return nil
}

// causedBy carries an error number across the process boundary.
type causedBy struct {
	text  string
	errno syscall.Errno
}

func (e causedBy) Error() string { return e.text }
func (e causedBy) Unwrap() error { return e.errno }
