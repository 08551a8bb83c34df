package build

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"imagebuilder/builtins/host"
)

// The worker that does nothing. It must never have to know an effect: whatever a plan shows
// of one is in its step.

// A Planner is the Worker that does nothing and takes note of everything. What only
// the build itself can know, such as the content of a file in the image, is assumed.
type Planner struct {
	Steps    []PlannedStep
	Answers  []Record
	Problems []error // what stands in the way of a build besides missing needs
	Doubtful error   // what is wrong if the assumptions are right

	Target string // directory that gets the results; "": it is not known yet

	// Has tells whether the host has a program or a file; nil: this machine is asked.
	Has func(name string) bool

	needs  []Need
	claims claims
}

// A PlannedStep is one effect that a run would have.
type PlannedStep struct {
	Builtin string `json:"builtin"`
	Rootfs  string `json:"rootfs,omitempty"`
	Target  string `json:"target,omitempty"`
	Args    Args   `json:"args"`
	Label   string `json:"in,omitempty"` // the function of the standard library that asks for it
	At      string `json:"at"`           // file:line:column in the recipe
}

// A Record is of an answer that a plan went on with.
type Record struct {
	Question string
	About    string
	Library  bool // the standard library has asked, on behalf of the recipe
	At       string
	Certain  bool // it was found, not assumed
}

// Assumed tells whether an answer was assumed.
func (p *Planner) Assumed() bool {
	for _, a := range p.Answers {
		if !a.Certain {
			return true
		}
	}
	return false
}

// Assumptions says which answers the recipe itself was given that were assumed, and what
// that means; "" if none was.
func (p *Planner) Assumptions() string {
	var list []string
	for _, a := range p.Answers {
		line := strings.TrimSpace(fmt.Sprintf("%s: %s %s", a.At, a.Question, a.About))
		if !a.Certain && !a.Library && !slices.Contains(list, line) {
			list = append(list, line)
		}
	}
	if len(list) == 0 {
		return ""
	}
	more := ""
	if n := len(list) - maxAssumptions; n > 0 {
		list, more = list[:maxAssumptions], fmt.Sprintf("; and %d more", n)
	}
	return "only the build can know " + strings.Join(list, "; ") + more + ": what the recipe does after that may be otherwise"
}

// maxAssumptions is how many are named: who has more needs no list to know.
const maxAssumptions = 3

// Ask implements Worker.
func (p *Planner) Ask(ctx context.Context, s *Step, q AnyQuestion) (any, error) {
	p.prepare(ctx, s)
	answer, certain := q.assume(p)
	p.Answers = append(p.Answers, Record{q.what(), s.Summary(), s.Label != s.Builtin, s.At, certain})
	if q.network() {
		p.show(s, Arg{"assumed", q.shown(answer)})
	}
	return answer, nil
}

// Change implements Worker.
func (p *Planner) Change(ctx context.Context, s *Step, _ Change) error {
	p.record(ctx, s)
	s.Root.filled = true
	return nil
}

// Make implements Worker.
func (p *Planner) Make(ctx context.Context, s *Step, product Product) ([]*File, error) {
	if product.Unshown {
		p.prepare(ctx, s)
	} else {
		p.record(ctx, s)
	}
	return product.Files, p.claims.check(s, product)
}

// Act implements Worker.
func (p *Planner) Act(ctx context.Context, s *Step, a Act) error {
	p.record(ctx, s)
	if a.Ready != nil && p.Target != "" {
		if err := a.Ready(p.Target); err != nil {
			p.Problems = append(p.Problems, at(s.At, err))
		}
	}
	if a.Assumed {
		p.Answers = append(p.Answers, Record{Question: s.Builtin, At: s.At})
	}
	return nil
}

// record takes note of a step.
func (p *Planner) record(ctx context.Context, s *Step) {
	p.prepare(ctx, s)
	if s.Fresh.network() {
		p.show(s, Arg{"fresh", s.Fresh.plain()})
	} else {
		p.show(s)
	}
}

// show puts a step into the plan, with more than its arguments.
func (p *Planner) show(s *Step, more ...Arg) {
	planned := PlannedStep{Builtin: s.Builtin, Args: append(s.Args[:len(s.Args):len(s.Args)], more...), At: s.At}
	if s.Label != s.Builtin {
		planned.Label = s.Label
	}
	if s.Root != nil {
		planned.Rootfs, planned.Target = s.Root.Name, s.Root.Target
	}
	p.Steps = append(p.Steps, planned)
}

// prepare takes note of what a step needs, and of what stands in its way.
func (p *Planner) prepare(ctx context.Context, s *Step) {
	p.needs = append(p.needs, s.Needs...)
	if s.Ready == nil {
		return
	}
	if err := s.Ready(ctx); err != nil {
		p.Problems = append(p.Problems, at(s.At, err))
	}
}

// has tells whether the host has a program or a file.
func (p *Planner) has(name string) bool {
	if p.Has != nil {
		return p.Has(name)
	}
	return host.Installed(name)
}

// Missing returns all that stands in the way of a build: what this version lacks, and
// what the host does, each thing once, at the first place that needs it.
func (p *Planner) Missing() []error {
	errs := p.Problems[:len(p.Problems):len(p.Problems)]
	packages := make(map[string]string)
	for _, n := range p.needs {
		if n.Package != "" {
			packages[n.Name] = n.Package
		}
	}
	said := make(map[string]bool)
	for _, n := range p.needs {
		if !said[n.Name] && !p.has(n.Name) {
			said[n.Name] = true
			errs = append(errs, at(n.At, host.Missing(n.Name, packages[n.Name])))
		}
	}
	return errs
}

// MissingFiles returns which files of this machine a recipe names that are not there.
func (p *Planner) MissingFiles() []error {
	var errs []error
	for _, n := range p.needs {
		if n.At != "" && filepath.IsAbs(n.Name) && !p.has(n.Name) {
			errs = append(errs, at(n.At, host.Missing(n.Name, "")))
		}
	}
	return errs
}
