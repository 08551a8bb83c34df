// Package matrix is many runs that are one piece of work: cells, each a recipe with options; the
// order in which they share what they have in common; the same on this machine, and as jobs of
// engines for many. A cell is a command line of the tool, whoever runs it: what becomes of it
// is in a file that this leaves.
package matrix

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/problems"
	"imagebuilder/runtime"
)

// A Cell is one recipe with options, and what engines have to know of it.
type Cell struct {
	ID      string   `json:"id"` // of the matrix, and the directory of its results
	Recipe  string   `json:"recipe"`
	Options []string `json:"options"` // name=value
	Command []string `json:"command"`
	Needs   Needs    `json:"needs"`
	Group   string   `json:"group"`           // the id of its leader: cells of a group begin alike
	After   string   `json:"after,omitempty"` // the cell that it starts after, whatever becomes of that
	Stream  string   `json:"stream,omitempty"`

	call  runtime.Cells
	begin [sha256.Size]byte // of its plan
}

// Needs are what a machine must be or have for a cell.
type Needs struct {
	Architecture string   `json:"architecture"` // of the images, as the kernel calls it
	Programs     []string `json:"programs,omitempty"`
}

// Expand returns the cells of all calls, in the order of these and of the values of their axes.
func Expand(calls []runtime.Cells) ([]Cell, error) {
	var all []Cell
	places := make(map[string]bool)
	for _, call := range calls {
		cells, err := expand(call)
		if err != nil {
			return nil, call.Within(err)
		}
		for _, c := range cells {
			if places[c.ID] {
				return nil, call.Within(fmt.Errorf("two cells have the result place %s: what tells them apart must be on an axis, such as a list of one value", c.ID))
			}
			places[c.ID] = true
		}
		all = append(all, cells...)
	}
	return all, nil
}

func expand(call runtime.Cells) ([]Cell, error) {
	base := strings.TrimSuffix(path.Base(filepath.ToSlash(call.Recipe)), filepath.Ext(call.Recipe))
	choices := [][]string{nil} // of a value on each axis so far
	for _, axis := range call.Axes {
		var more [][]string
		for _, chosen := range choices {
			for _, value := range axis.Values {
				more = append(more, append(chosen[:len(chosen):len(chosen)], value))
			}
		}
		if choices = more; len(choices) > maxCells {
			return nil, fmt.Errorf("the product of the axes has more than %d cells", maxCells)
		}
	}
	var cells []Cell
	for _, chosen := range choices {
		if excluded(call, chosen) {
			continue
		}
		c := Cell{ID: place(append([]string{base}, chosen...)), Recipe: call.Recipe, Stream: call.Stream, Options: []string{}, call: call}
		if len(c.ID) > maxPlace {
			return nil, fmt.Errorf("the cell %s… has values that are too long to name a directory", c.ID[:maxPlace/2])
		}
		for i, axis := range call.Axes {
			c.Options = append(c.Options, axis.Name+"="+chosen[i])
		}
		for _, fixed := range call.Fixed {
			for _, value := range fixed.Values {
				c.Options = append(c.Options, fixed.Name+"="+value)
			}
		}
		cells = append(cells, c)
	}
	if len(cells) == 0 {
		return nil, fmt.Errorf("the matrix of %s has no cells: an axis has no value, or all are left out", call.Recipe)
	}
	return cells, nil
}

// maxCells is where a product of axes is a slip, and maxPlace how long the name of a directory is.
const (
	maxCells = 10000
	maxPlace = 200
)

// excluded tells whether a choice has all values of something that is left out.
func excluded(call runtime.Cells, chosen []string) bool {
	for _, without := range call.Unless {
		all := len(without) > 0
		for i, axis := range call.Axes {
			if value, ok := without[axis.Name]; ok && value != chosen[i] {
				all = false
			}
		}
		if all {
			return true
		}
	}
	return false
}

// place names a directory, and jobs of engines, by the parts of a cell.
func place(parts []string) string {
	name := regexp.MustCompile(`[^A-Za-z0-9._-]+`).ReplaceAllString(strings.Join(parts, "-"), "_")
	return strings.TrimLeft(name, ".-_")
}

// An Opener loads a recipe with options, each name=value.
type Opener func(ctx context.Context, recipe string, options []string) (*runtime.Recipe, error)

// Plan plans all cells, so that what is wrong with any is known before one is built, and groups
// those whose plans begin alike. machine is the architecture of images that say none.
func Plan(ctx context.Context, cells []Cell, machine string, open Opener) error {
	errs := make([]error, len(cells))
	var group errgroup.Group
	group.SetLimit(goruntime.GOMAXPROCS(0))
	for i := range cells {
		group.Go(func() error {
			errs[i] = cells[i].plan(ctx, machine, open)
			return nil // all are to be known
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := problems.Join(distinct(cells, errs)...); err != nil {
		return err
	}
	leaders := make(map[[sha256.Size]byte]string)
	for i := range cells {
		c := &cells[i]
		leader, ok := leaders[c.begin]
		if !ok {
			leaders[c.begin], leader = c.ID, c.ID
		} else {
			c.After = leader
		}
		c.Group = leader
	}
	return nil
}

// distinct are the errors of cells, of which many have the same: that of the first is said,
// where the cells are declared.
func distinct(cells []Cell, errs []error) (list []error) {
	said := make(map[string]bool)
	for i, err := range errs {
		if err == nil || said[err.Error()] {
			continue
		}
		said[err.Error()] = true
		var misspelt runtime.Misspelt
		if !errors.As(err, &misspelt) {
			err = runtime.Within("cell "+cells[i].ID, err) // the recipe's own lines are in it
		}
		list = append(list, cells[i].call.Within(err))
	}
	return list
}

func (c *Cell) plan(ctx context.Context, machine string, open Opener) error {
	recipe, err := open(ctx, c.Recipe, c.Options)
	if err != nil {
		return err
	}
	planner, err := recipe.Check()
	if err != nil {
		return err
	}
	c.Needs = Needs{Architecture: machine}
	for _, need := range planner.Needs() {
		c.Needs.Programs = append(c.Needs.Programs, need.Name)
	}
	for _, step := range planner.Steps {
		for _, arg := range step.Args {
			if img, ok := arg.Value.(*build.Image); ok && img.Kernel != "" {
				c.Needs.Architecture = img.Kernel
			}
		}
	}
	c.begin, err = beginning(c.Recipe, planner.Steps)
	return err
}

// beginning is the digest of how a plan begins: up to the first step of a root file system,
// which takes most of the time of those that cells can share. Where in a recipe the steps
// stand does not matter.
func beginning(recipe string, steps []build.PlannedStep) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	enc := json.NewEncoder(h)
	if len(steps) == 0 {
		err = enc.Encode(recipe)
	}
	for _, step := range steps {
		if err := enc.Encode([]any{step.Builtin, step.Args}); err != nil {
			return sum, err
		}
		if step.Rootfs != "" {
			break
		}
	}
	return [sha256.Size]byte(h.Sum(nil)), err
}
