package build

import (
	"cmp"
	"path/filepath"
	"slices"

	"imagebuilder/builtins/tree"
)

// What a run has read from outside, to say where its images come from.

// An Input is a file that a run has read: one of a URL, or of this machine, which is known by
// the name that it has without the directories it lies in, since those are nobody's business.
type Input struct {
	Name     string
	SHA256   string
	SignedBy string // the key by which it was verified; "": it was not
}

// read notes an input.
func (b *Builder) read(name string, f *File) {
	b.inputsRead = append(b.inputsRead, Input{name, f.SHA256, f.SignedBy})
}

// readCopied notes the files that edits copy.
func (b *Builder) readCopied(edits []tree.Edit) {
	for _, e := range edits {
		if e.Op == "copy" {
			b.inputsRead = append(b.inputsRead, Input{Name: filepath.Base(e.Source), SHA256: e.SHA256})
		}
	}
}

// Inputs returns what the run has read, sorted, each once.
func (b *Builder) Inputs() []Input {
	list := slices.Clone(b.inputsRead)
	slices.SortFunc(list, func(x, y Input) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.SHA256, y.SHA256), cmp.Compare(x.SignedBy, y.SignedBy))
	})
	return slices.Compact(list)
}
