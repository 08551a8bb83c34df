package build

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/disk"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
	"imagebuilder/builtins/treetask"
)

// What effects are about, and the questions about it.

// A Root is a root file system that effects are about. Its state is made by the first of
// them that needs it; in a plan there never is one.
type Root struct {
	Name   string
	Target string // kind of image that it is to be
	Source string // directory of the host that it began as; "": it began empty

	Disk         *disk.Disk // that it is to lie on; nil: on none
	surroundings Surroundings

	fingerprint string      // of Source
	state       layer.State // nil: nothing was done to it
	filled      bool        // something was done to it
	session     sessionState
}

// NewRoot returns a root file system, empty or with the content of a directory of the host
// that has a fingerprint (see [Fingerprint]).
func NewRoot(name, target, source, fingerprint string) *Root {
	return &Root{Name: name, Target: target, Source: source, fingerprint: fingerprint}
}

// Fork returns a second one with the same content. Changes of either are not seen in the
// other.
func (r *Root) Fork() *Root {
	fork := *r
	if r.state != nil {
		fork.state = r.state.Fork()
	}
	return &fork
}

// Empty tells whether it holds nothing at all.
func (r *Root) Empty() bool { return !r.filled && r.Source == "" }

// stateOf returns the state of a root file system.
func (b *Builder) stateOf(r *Root) layer.State {
	switch {
	case r.state != nil:
	case r.Source != "":
		r.state = b.Store.StateOf(r.Source, r.fingerprint)
	default:
		r.state = b.Store.NewState()
	}
	return r.state
}

// Fingerprint asks for the fingerprint of a directory of the host.
func Fingerprint(dir string) Question[string] {
	return Question[string]{What: "fingerprint", Find: func(context.Context, *Builder) (string, error) {
		root, err := dirfd.Open(dir, dirfd.InRoot)
		if err != nil {
			return "", err
		}
		defer root.Close()
		print, err := tree.Fingerprint(root)
		if err != nil {
			return "", fmt.Errorf("cannot look at %s: %w", dir, err)
		}
		return print, nil
	}}
}

// intact finds out whether the directory that a root file system began as is still what it was
// when it was looked at: steps before and after a change have seen something else.
func (r *Root) intact(ctx context.Context, b *Builder) error {
	if r.Source == "" || b.exported[r.Source] {
		return nil
	}
	print, err := Fingerprint(r.Source).Find(ctx, b)
	if err == nil && print != r.fingerprint {
		err = fmt.Errorf("%s has changed while the run was at work; run again", r.Source)
	}
	return err
}

// HostPath makes a path of the host absolute.
func HostPath(name string) (string, error) { return filepath.Abs(name) }

// look answers a question about files.
func (b *Builder) look(ctx context.Context, state layer.State, l tree.Look) (tree.Answer, error) {
	r := b.recall(state, l)
	err := r.find(ctx)
	if err == nil {
		b.remember(r)
	}
	return r.answer, err
}

// A recalled is a question about files, and the answer if it is known. What a run before this
// one was told of the very same files is not looked at again: starting a process for it takes
// longer than all else that an unchanged step does.
type recalled struct {
	look     tree.Look
	stack    sandbox.Stack
	question string // by which it is remembered; "": it is not
	answer   tree.Answer
	record   json.RawMessage // of the answer; nil: it is not known yet
}

// recall returns a question, with the answer if that is remembered.
func (b *Builder) recall(state layer.State, l tree.Look) *recalled {
	r := &recalled{look: l, stack: state.Stack()}
	if r.stack.Dir != "" { // the identity of a plain directory does not tell its files
		return r
	}
	question, err := json.Marshal([]any{"look", state.ID(), l})
	if err != nil {
		return r
	}
	r.question = string(question)
	if before := b.History.Answered(r.question); before != nil && json.Unmarshal(before, &r.answer) == nil {
		r.record = before
	}
	return r
}

// find looks if the answer is not known. It may be called beside other work.
func (r *recalled) find(ctx context.Context) (err error) {
	if r.record != nil {
		return nil
	}
	if r.answer, err = treetask.Looking.Run(ctx, []sandbox.Stack{r.stack}, r.look); err != nil {
		return err
	}
	r.record, err = json.Marshal(r.answer)
	return err
}

// remember keeps the answer for the next run.
func (b *Builder) remember(r *recalled) {
	if r.question != "" && r.record != nil && len(r.record) <= maxRemembered {
		b.History.Answer(r.question, r.record)
	}
}

// maxRemembered bounds what is kept of one answer about files, in bytes.
const maxRemembered = 16 << 10

// Look asks about the files of the root file system of a step. A plan assumes that what it
// asks for is there, and empty.
func Look(root *Root, l tree.Look) Question[tree.Answer] {
	return Question[tree.Answer]{
		What: l.Op,
		Find: func(ctx context.Context, b *Builder) (tree.Answer, error) {
			if root.Empty() {
				return tree.Answer{}, nil
			}
			return b.look(ctx, b.stateOf(root), l)
		},
		Assume: func(*Planner) (tree.Answer, bool) { return tree.Answer{Found: true}, false },
	}
}
