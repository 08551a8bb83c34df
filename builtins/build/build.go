// Package build is the engine of builds: it carries out what recipes ask for, or takes
// note of it. What is asked for has one of four shapes:
//
//   - a question has one recorded answer, about a root file system, the host or the network;
//   - a change gives a root file system a further layer;
//   - a product is files, made of a root file system or of anything else;
//   - an act happens outside of any layer, each time.
//
// A [Builder] does them, a [Planner] writes down what would be done, knowing of none what
// it is. A file of this package has one effect, or a few that belong together, and returns
// it as a value of one of these shapes; a new one needs no more than that, and whoever asks
// for it.
//
// The package knows no Starlark: what is a word of recipes, and what arguments it takes, is
// the business of package builtins above.
package build

import (
	"context"
	"io"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/treetask"
)

// A Worker carries out effects.
type Worker interface {
	// Ask returns the answer to a question; see [Ask].
	Ask(ctx context.Context, s *Step, q AnyQuestion) (any, error)
	// Change changes the root file system of the step.
	Change(ctx context.Context, s *Step, c Change) error
	// Make makes a product, and returns its files in the order in which it names them.
	Make(ctx context.Context, s *Step, p Product) ([]*File, error)
	// Act does an act.
	Act(ctx context.Context, s *Step, a Act) error
}

var (
	_ Worker = (*Builder)(nil)
	_ Worker = (*Planner)(nil)
)

// A Question has one answer for as long as the run lasts, and of a root file system for as
// long as that stays the same.
type Question[T any] struct {
	What string // what is asked; with the arguments of the step it tells the question

	// Find finds the answer.
	Find func(ctx context.Context, b *Builder) (T, error)
	// Assume is what a plan takes for the answer, and whether that is certain; nil: it
	// assumes the zero value.
	Assume func(p *Planner) (answer T, certain bool)

	// Shown is what readers are shown of an answer that is found on the network, where it may be
	// another one each time: a plan shows such a question as a step. nil: it is no question of
	// the network.
	Shown func(answer T) []string
}

// Ask returns the answer to a question.
func Ask[T any](ctx context.Context, w Worker, s *Step, q Question[T]) (answer T, err error) {
	v, err := w.Ask(ctx, s, q)
	if err == nil {
		answer = v.(T)
	}
	return answer, err
}

// AnyQuestion is a question of any kind of answer.
type AnyQuestion interface {
	what() string
	find(ctx context.Context, b *Builder) (any, error)
	assume(p *Planner) (answer any, certain bool)
	network() bool
	shown(answer any) []string
}

func (q Question[T]) what() string { return q.What }

func (q Question[T]) network() bool { return q.Shown != nil }

func (q Question[T]) shown(answer any) []string { return q.Shown(answer.(T)) }

func (q Question[T]) find(ctx context.Context, b *Builder) (any, error) { return q.Find(ctx, b) }

func (q Question[T]) assume(p *Planner) (any, bool) {
	if q.Assume == nil {
		var zero T
		return zero, false
	}
	return q.Assume(p)
}

// A Change gives a root file system a further layer.
type Change struct {
	// Do makes the change. What its programs print goes to out.
	Do func(ctx context.Context, stack sandbox.Stack, out io.Writer) error
	// Reads are the files that programs read by their names: they must still be those of
	// the step's key when it ends.
	Reads []*File
}

// A Product is files that are made.
type Product struct {
	Files   []*File // as far as a plan knows them
	Claim   string  // a name below the target directory that no other product of the run may have; "": none
	OfRoot  bool    // it is made of the root file system of the step, which must not be empty
	Unshown bool    // it is a part of another step, and a plan does not show it

	// Do makes or finds the files.
	Do func(ctx context.Context, b *Builder) ([]*File, error)
}

// An Act happens outside of any layer, each time.
type Act struct {
	// Do does it; nil: it is done by being remembered.
	Do func(ctx context.Context, b *Builder) error
	// Ready tells what stands in its way, given the target directory of the run; it is found
	// before a build starts. nil: nothing can.
	Ready func(target string) error
	// Assumed says that a recipe goes on with what comes of it, of which a plan knows
	// nothing.
	Assumed bool
}

// Tasks are the tasks of the sandbox that builds need: main functions hand them to
// [sandbox.Main].
func Tasks() []sandbox.Registered {
	return append([]sandbox.Registered{treetask.Editing, treetask.Looking, treetask.CopyingFrom}, layer.Tasks...)
}
