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

	"imagebuilder/builtins/disk"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/pack"
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

// A Change gives a root file system a further layer.
type Change struct {
	// Do makes the change. What its programs print goes to out.
	Do func(ctx context.Context, b *Builder, stack sandbox.Stack, out io.Writer) error
	// Runs are the programs that are run to make it; nil: other ones, or none.
	Runs *running
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

	Wish *fetch.Wish // the download that it is; nil: it is none

	// Ready tells what stands in its way, given the target directory of the run; it is found
	// before a build starts. nil: nothing can.
	Ready func(target string) error

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
	return append([]sandbox.Registered{
		treetask.Archiving, treetask.Comparing, treetask.CopyingFrom, treetask.Editing, treetask.Filling, treetask.Layering, treetask.Looking, treetask.Packaging, treetask.Surveying,
		disk.Looking, pack.Squashing,
	}, layer.Tasks...)
}
