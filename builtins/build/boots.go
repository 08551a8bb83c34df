package build

import (
	"context"
	"maps"
	"slices"

	"imagebuilder/builtins/boot"
)

// The effect that starts what was made: it makes nothing, and whatever follows it happens only
// if the image boots.

// Boots starts the disk of an image and waits for a text on its console, which is the output
// of the step. It gives the step its needs.
func Boots(s *Step, files []*File, guest boot.Guest, expect string) Act {
	needs := guest.Needs()
	for _, name := range slices.Sorted(maps.Keys(needs)) {
		s.Needs = append(s.Needs, Need{Name: name, Package: needs[name]})
	}
	return Act{Do: func(ctx context.Context, b *Builder) error {
		out := b.output(s)
		guest.Files, guest.Console = Paths(files), out
		_, err := guest.Wait(ctx, expect)
		return b.close(ctx, out, err)
	}}
}
