package build

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/lock"
)

// The worker that does nothing. It must never have to know an effect: whatever a plan shows
// of one is in its step.

// A Planner is the Worker that does nothing and takes note of everything. What only
// the build itself can know, such as the content of a file in the image, is assumed, and so is
// what is on the network, unless Resolve is there to ask.
type Planner struct {
	Steps    []PlannedStep
	Answers  []Record
	Problems []error // what stands in the way of a build besides missing needs
	Doubtful error   // what is wrong if the assumptions are right

	// Wishes are the downloads that a run will ask for, whatever the answers that a plan had to
	// assume.
	Wishes []fetch.Wish

	Target string // directory that gets the results; "": it is not known yet

	// Resolve answers questions of the network; nil: it is asked nothing.
	Resolve *Builder

	// Has tells whether the host has a program or a file; nil: this machine is asked.
	Has func(name string) bool

	// Lock says which programs are to be used, and has files that need not be there; nil: there
	// is none.
	Lock *lock.Session

	Tools []string // those of [Choices] that are to be used; nil: those that are there

	// Given are the answers that a test gives, by the question and what it is about, as
	// "read /etc/hostname"; see [Planner.Unasked].
	Given map[string]any

	needs  []Need
	claims claims
	asked  map[string]bool // answers of Given that were used
}

// A PlannedStep is one effect that a run would have.
type PlannedStep struct {
	Builtin string `json:"builtin"`
	Rootfs  string `json:"rootfs,omitempty"`
	Target  string `json:"target,omitempty"`
	Args    Args   `json:"args"`
	Details Args   `json:"details,omitempty"` // what only those are shown who ask
	Label   string `json:"in,omitempty"`      // the function of the standard library that asks for it
	At      string `json:"at"`                // file:line:column in the recipe
}

// A Record is of an answer that a plan went on with.
type Record struct {
	Question string
	About    string
	Library  bool // the standard library has asked, on behalf of the recipe
	At       string
	Certain  bool // it was found, not assumed
	Network  bool // it is on the network, which [Planner.Resolve] can ask
}

// Name is what was asked, and about what.
func (r Record) Name() string { return strings.TrimSpace(r.Question + " " + r.About) }

// Assumed tells whether an answer was assumed.
func (p *Planner) Assumed() bool {
	return slices.ContainsFunc(p.Answers, func(a Record) bool { return !a.Certain })
}

// Unresolved tells whether an answer was assumed that [Planner.Resolve] would find.
func (p *Planner) Unresolved() bool {
	return slices.ContainsFunc(p.Answers, func(a Record) bool { return a.Network && !a.Certain })
}

// Assumptions says which answers the recipe itself was given that were assumed, and what
// that means; "" if none was.
func (p *Planner) Assumptions() string {
	var list []string
	network := ""
	for _, a := range p.Answers {
		line := a.At + ": " + a.Name()
		if !a.Certain && !a.Library && !slices.Contains(list, line) {
			list = append(list, line)
			if a.Network {
				network = "; plan --resolve asks the network"
			}
		}
	}
	if len(list) == 0 {
		return ""
	}
	more := ""
	if n := len(list) - maxAssumptions; n > 0 {
		list, more = list[:maxAssumptions], fmt.Sprintf("; and %d more", n)
	}
	return "only the build can know " + strings.Join(list, "; ") + more + ": what the recipe does after that may be otherwise" + network
}

// maxAssumptions is how many are named: who has more needs no list to know.
const maxAssumptions = 3

// Ask implements Worker.
func (p *Planner) Ask(ctx context.Context, s *Step, q AnyQuestion) (any, error) {
	p.prepare(ctx, s)
	answer, certain := q.assume(p)
	given, isGiven, err := p.given(s, q, answer)
	if err != nil {
		return nil, err
	}
	if isGiven {
		p.Answers = append(p.Answers, Record{q.what(), s.Summary(), s.Label != s.Builtin, s.At, true, q.network()})
		return given, nil
	}
	how, shown := "assumed", q.network() && !certain
	if q.network() && p.Resolve != nil {
		if answer, err = p.Resolve.Ask(ctx, s, q); err != nil {
			return nil, err
		}
		how, certain = "found", true
	}
	p.Answers = append(p.Answers, Record{q.what(), s.Summary(), s.Label != s.Builtin, s.At, certain, q.network()})
	if shown {
		p.show(s, Arg{how, q.shown(answer)})
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
	var known []Arg
	if product.Wish != nil && p.Resolve != nil {
		head, err := p.Resolve.Fetch.Head(ctx, product.Wish.URL)
		if err != nil {
			return nil, err
		}
		if head.Size >= 0 {
			product.Files[0].Size, known = head.Size, []Arg{{"size", head.Size}}
		}
	}
	if product.Wish != nil && !p.Assumed() {
		p.Wishes = append(p.Wishes, *product.Wish)
	}
	if product.Unshown {
		p.prepare(ctx, s)
	} else {
		p.record(ctx, s, known...)
	}
	p.ready(s, product.Ready)
	return product.Files, p.claims.check(s, product)
}

// Act implements Worker.
func (p *Planner) Act(ctx context.Context, s *Step, a Act) error {
	p.record(ctx, s)
	p.ready(s, a.Ready)
	if a.Assumed {
		p.Answers = append(p.Answers, Record{Question: s.Builtin, At: s.At})
	}
	return nil
}

// ready takes note of what stands in the way of a step at the target directory.
func (p *Planner) ready(s *Step, ready func(target string) error) {
	if ready == nil || p.Target == "" {
		return
	}
	if err := ready(p.Target); err != nil {
		p.Problems = append(p.Problems, at(s.At, err))
	}
}

// record takes note of a step, with more than its arguments.
func (p *Planner) record(ctx context.Context, s *Step, more ...Arg) {
	p.prepare(ctx, s)
	if s.Fresh.network() {
		more = append(more, Arg{"fresh", s.Fresh.plain()})
	}
	if !p.Assumed() {
		p.Wishes = append(p.Wishes, s.Fresh.wishes()...)
	}
	p.show(s, more...)
}

// show puts a step into the plan.
func (p *Planner) show(s *Step, more ...Arg) {
	planned := PlannedStep{Builtin: s.Builtin, Args: append(s.Args[:len(s.Args):len(s.Args)], more...), Details: s.Details, At: s.At}
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
	return p.Lock != nil && p.Lock.HasFile(name) || host.Installed(name)
}

// Missing returns all that stands in the way of a build: what this version lacks, and
// what the host does, each thing once, at the first place that needs it.
func (p *Planner) Missing() []error {
	errs := p.Problems[:len(p.Problems):len(p.Problems)]
	for _, n := range p.Needs() {
		if !p.has(n.Name) {
			errs = append(errs, at(n.At, host.Missing(n.Name, n.Package)))
		}
	}
	return errs
}

// Needs returns what the host must have for a build, each thing once, at the first place
// that needs it, with the package that any place knows.
func (p *Planner) Needs() []Need {
	var needs []Need
	for _, n := range p.needs {
		i := slices.IndexFunc(needs, func(known Need) bool { return known.Name == n.Name })
		if i < 0 {
			needs = append(needs, n)
		} else if n.Package != "" {
			needs[i].Package = n.Package
		}
	}
	return needs
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
