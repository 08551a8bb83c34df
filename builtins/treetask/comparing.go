package treetask

import (
	"bufio"
	"context"
	"encoding/gob"
	"regexp"
	"strings"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/problems"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
)

// Sides are what is compared, and how.
type Sides struct {
	Old, New Side
	Ignore   []string // of tree.Kinds
	Leave    []string // patterns of paths, in which * stands for anything, also for slashes
}

// A Side is a root file system, and what its image has beside it.
type Side struct {
	Rootfs int    // which root file system of the task holds both; -1: the next of its files
	System string // the directory of it
	Beside string // the directory of what is beside it; "": there is nothing
	Skip   string // what of that is the system
}

// Comparing writes the differences of two sides into the last file of the task, as gob: first
// those beside the root file systems, with paths that do not begin with a slash.
var Comparing = sandbox.NewTask("compare", func(_ context.Context, in *sandbox.Inside, s Sides) (totals [2]tree.Totals, err error) {
	files := in.Files
	var roots [2]*dirfd.Dir
	for i, side := range []Side{s.Old, s.New} {
		if side.Rootfs >= 0 {
			roots[i] = in.Roots[side.Rootfs]
			continue
		}
		roots[i], files = dirfd.New(files[0], dirfd.InRoot), files[1:]
	}
	out := bufio.NewWriter(files[0])
	defer func() { err = problems.Join(err, out.Flush()) }()
	found := gob.NewEncoder(out)
	c := tree.Comparison{Ignore: s.Ignore, Leave: leaving(s.Leave), Found: func(d tree.Difference) error { return found.Encode(d) }}
	if s.Old.Beside != "" && s.New.Beside != "" {
		old, new := besides(roots[0], s.Old), besides(roots[1], s.New)
		if _, _, err := c.Directories(old, new); err != nil {
			return totals, err
		}
	}
	c.Prefix = "/"
	totals[0], totals[1], err = c.Directories(tree.Compared{Root: roots[0], Dir: s.Old.System}, tree.Compared{Root: roots[1], Dir: s.New.System})
	return totals, err
})

func besides(root *dirfd.Dir, s Side) tree.Compared {
	return tree.Compared{Root: root, Dir: s.Beside, Skip: s.Skip}
}

// leaving returns what tells whether a path is one of the patterns, or is in one of them.
func leaving(patterns []string) func(string) bool {
	if len(patterns) == 0 {
		return nil
	}
	var all []string
	for _, p := range patterns {
		p = regexp.QuoteMeta(strings.TrimSuffix(p, "/"))
		all = append(all, strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(p))
	}
	any := regexp.MustCompile(`(?s)^(?:` + strings.Join(all, "|") + `)(?:/|$)`)
	return any.MatchString
}
