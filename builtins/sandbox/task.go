package sandbox

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"os"
	"syscall"

	"imagebuilder/builtins/dirfd"
)

// What other packages have done in a child, without this package knowing what it is.

// A Task is something that another package has done in a child: to root file systems,
// which are mounted for it alone, or to files that it inherits. Arguments and result
// travel as gob, which keeps the bytes of names that are not UTF-8; like all gob, it
// takes a pointer to a zero value for none.
//
// A package has its tasks as variables. [Main] must be told of each.
type Task[Args, Result any] struct {
	name string
	do   func(context.Context, *Inside, Args) (Result, error)
}

// NewTask returns the task of a name, which no other may have.
func NewTask[Args, Result any](name string, do func(context.Context, *Inside, Args) (Result, error)) *Task[Args, Result] {
	return &Task[Args, Result]{name, do}
}

// None is the result of a task that has none.
type None bool

// Inside is what a task finds in the child. All of it is closed after the task.
type Inside struct {
	Roots []*dirfd.Dir // the root file systems, in order
	Files []*os.File   // the files, in order
}

// Run has the task done: in a child where root file systems are to be mounted for it, else
// in this process, whose umask it then has. A file that is a directory is reached by its
// handle, whatever has its name meanwhile.
func (t *Task[Args, Result]) Run(ctx context.Context, stacks []Stack, args Args, files ...*os.File) (result Result, err error) {
	if len(stacks) == 0 {
		return t.do(ctx, &Inside{Files: files}, args)
	}
	var data bytes.Buffer
	if err := gob.NewEncoder(&data).Encode(args); err != nil {
		return result, fmt.Errorf("internal error: arguments of task %s: %w", t.name, err)
	}
	o := orders{Task: t.name, Stacks: stacks, Args: data.Bytes(), Files: len(files)}
	answer, err := spawn(ctx, o, child{flags: syscall.CLONE_NEWNS, out: io.Discard, files: files})
	if err != nil {
		return result, err
	}
	return result, gob.NewDecoder(bytes.NewReader(answer)).Decode(&result)
}

// Name is what the task is called.
func (t *Task[Args, Result]) Name() string { return t.name }

func (t *Task[Args, Result]) carryOut(ctx context.Context, in *Inside, data []byte) ([]byte, error) {
	var args Args
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&args); err != nil {
		return nil, fmt.Errorf("internal error: arguments of task %s: %w", t.name, err)
	}
	result, err := t.do(ctx, in, args)
	if err != nil {
		return nil, err
	}
	var answer bytes.Buffer
	err = gob.NewEncoder(&answer).Encode(result)
	return answer.Bytes(), err
}

// A Registered is a task of any kind, as [Main] takes it.
type Registered interface {
	Name() string
	carryOut(ctx context.Context, in *Inside, args []byte) ([]byte, error)
}
