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

// HostPath makes a path of the host absolute.
func HostPath(name string) (string, error) { return filepath.Abs(name) }

// look answers a question about files. What a run before this one was told of the very same
// files is not looked at again: starting a process for it takes longer than all else that an
// unchanged step does.
func (b *Builder) look(ctx context.Context, state layer.State, l tree.Look) (answer tree.Answer, err error) {
	stack := state.Stack()
	asked, err := json.Marshal([]any{"look", state.ID(), l})
	if err != nil {
		return answer, fmt.Errorf("internal error: %w", err)
	}
	question := string(asked)
	known := stack.Dir == "" // the identity of a plain directory does not tell its files
	if before := b.History.Answered(question); known && before != nil && json.Unmarshal(before, &answer) == nil {
		b.History.Answer(question, before)
		return answer, nil
	}
	answer, err = treetask.Looking.Run(ctx, []sandbox.Stack{stack}, l)
	if err != nil || !known {
		return answer, err
	}
	record, err := json.Marshal(answer)
	if err == nil && len(record) <= maxRemembered {
		b.History.Answer(question, record)
	}
	return answer, err
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
