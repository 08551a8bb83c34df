package build

import (
	"context"

	"imagebuilder/builtins/packages"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/treetask"
)

// Packages asks which packages a directory of a root file system has.
func Packages(root *Root, dir string) Question[packages.List] {
	return Question[packages.List]{
		What: "packages",
		Find: func(ctx context.Context, b *Builder) (packages.List, error) {
			if root.Empty() {
				return packages.List{}, nil
			}
			return treetask.Packaging.Run(ctx, []sandbox.Stack{b.stateOf(root).Stack()}, dir)
		},
	}
}
