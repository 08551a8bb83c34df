package build

import (
	"context"
	"errors"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/sandbox"
)

// A Visitor is the Worker that does what a recipe does to root file systems, up to a step, to
// enter one there. It publishes nothing: what a recipe packs, or does outside of layers, is
// passed over, as in a plan.
type Visitor struct {
	*Builder

	// At tells whether a step is the one, by its number in the plan, from 1. Of several that
	// follow each other the last is meant. nil: the last that there is.
	At func(n int, s *Step) bool

	found bool     // by At
	step  *Step    // with the root file system that would be entered now
	runs  *running // of the step; nil: no programs
}

var _ Worker = (*Visitor)(nil)

// ErrVisited is how a recipe ends when the Visitor has come to its step.
var ErrVisited = errors.New("internal error: the visit is over")

// Ask implements Worker.
func (v *Visitor) Ask(ctx context.Context, s *Step, q AnyQuestion) (any, error) {
	if isStep(q) {
		if _, err := v.next(s); err != nil {
			return nil, err
		}
	}
	return v.Builder.Ask(ctx, s, q)
}

// Change implements Worker.
func (v *Visitor) Change(ctx context.Context, s *Step, c Change) error {
	if _, err := v.next(s); err != nil {
		return err
	}
	if err := v.Builder.Change(ctx, s, c); err != nil {
		return err
	}
	v.step, v.runs = s, c.Runs
	return nil
}

// Make implements Worker.
func (v *Visitor) Make(ctx context.Context, s *Step, p Product) ([]*File, error) {
	if p.Unshown {
		return v.Builder.Make(ctx, s, p)
	}
	if err := v.come(s); err != nil {
		return nil, err
	}
	if p.Claim != "" {
		v.count()
		return p.Files, v.claims.check(s, p)
	}
	return v.Builder.Make(ctx, s, p)
}

// Act implements Worker.
func (v *Visitor) Act(_ context.Context, s *Step, _ Act) error {
	err := v.come(s)
	v.count()
	return err
}

// come is next for a step that changes no root file system, but may be made of one.
func (v *Visitor) come(s *Step) error {
	it, err := v.next(s)
	if it && s.Root != nil && !s.Root.Empty() {
		v.step, v.runs = s, nil
	}
	return err
}

// next tells whether the step that is about to be done is the one. It ends the recipe behind
// that.
func (v *Visitor) next(s *Step) (it bool, err error) {
	it = v.At != nil && v.At(v.number+1, s)
	if v.found && !it {
		return false, ErrVisited
	}
	v.found = v.found || it
	return it, nil
}

// Visit has the root file system entered that was looked for, once the recipe has ended.
func (v *Visitor) Visit(ctx context.Context, enter func(context.Context, *Room) error) error {
	switch {
	case v.At != nil && !v.found:
		return errors.New("the recipe has ended without such a step")
	case v.step == nil:
		return errors.New("there is nothing to enter: no step has changed a rootfs")
	}
	return v.stateOf(v.step.Root).Try(ctx, func(ctx context.Context, stack sandbox.Stack) error {
		return enter(ctx, &Room{Step: v.step, Offline: v.Fetch.Offline, builder: v.Builder, runs: v.runs, stack: stack})
	})
}

// VisitLayer has a layer of the store entered, of whose step nothing is known but its result.
func VisitLayer(ctx context.Context, state layer.State, enter func(context.Context, *Room) error) error {
	return state.Try(ctx, func(ctx context.Context, stack sandbox.Stack) error {
		return enter(ctx, &Room{stack: stack})
	})
}
