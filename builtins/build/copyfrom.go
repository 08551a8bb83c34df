package build

import (
	"context"
	"io"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/treetask"
)

// The one effect that reads one root file system and changes another. What it reads is a part
// of the key of what it makes, by its content.

// Content is what a root file system held when it was asked for, whatever becomes of that.
type Content struct {
	state layer.State // nil in a plan
}

// ContentOf asks for the content of a root file system.
func ContentOf(root *Root) Question[Content] {
	return Question[Content]{
		What:   "content",
		Find:   func(_ context.Context, b *Builder) (Content, error) { return Content{b.stateOf(root).Fork()}, nil },
		Assume: func(*Planner) (Content, bool) { return Content{}, true }, // what a recipe does cannot depend on it
	}
}

// CopyFrom copies a directory of such content, with all that makes up an image, into a
// directory of the root file system of the step.
func CopyFrom(s *Step, content Content, from, to string) Change {
	if content.state == nil {
		return Change{}
	}
	s.Also = append(s.Also, Arg{"content of the other", content.state.ID()})
	return Change{Do: func(ctx context.Context, _ *Builder, stack sandbox.Stack, _ io.Writer) error {
		_, err := treetask.CopyingFrom.Run(ctx, []sandbox.Stack{stack, content.state.Stack()}, treetask.Place{From: from, To: to})
		return err
	}}
}
