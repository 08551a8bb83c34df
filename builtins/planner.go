package builtins

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/sandbox"
)

// A Planner is the Worker that does nothing and takes note of everything. What only
// the build itself can know, such as the content of a file in the image, is assumed:
// files that are asked for exist, and are empty.
type Planner struct {
	Steps   []PlannedStep
	Needs   []Need
	Assumed bool // an answer was assumed
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

// Args are arguments in the order they were given.
type Args []Arg

// MarshalJSON writes an object that keeps the order.
func (a Args) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, arg := range a {
		if i > 0 {
			b.WriteByte(',')
		}
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(arg.Name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := enc.Encode(arg.Value); err != nil {
			return nil, fmt.Errorf("argument %s: %w", arg.Name, err)
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

var _ Worker = (*Planner)(nil)

// Record implements Worker.
func (p *Planner) Record(s *Step) {
	planned := PlannedStep{Builtin: s.Builtin, Args: s.Args, At: s.At()}
	if label := s.Label(); label != s.Builtin {
		planned.Label = label
	}
	if s.Root != nil {
		planned.Rootfs, planned.Target = s.Root.name, s.Root.target
	}
	if s.Fresh.network() {
		planned.Args = append(planned.Args[:len(planned.Args):len(planned.Args)], Arg{"fresh", s.Fresh.plain()})
	}
	p.Steps = append(p.Steps, planned)
	p.Needs = append(p.Needs, s.Needs...)
}

// NewTree implements Worker.
func (p *Planner) NewTree() *layer.Tree { return nil }

// Change implements Worker.
func (p *Planner) Change(_ context.Context, s *Step) error {
	p.Record(s)
	return nil
}

// Look implements Worker.
func (p *Planner) Look(_ context.Context, _ *Rootfs, q sandbox.Look) (sandbox.Answer, error) {
	p.Assumed = true
	return sandbox.Answer{Found: true}, nil
}

// Pack implements Worker.
func (p *Planner) Pack(_ context.Context, s *Step, _ string, parts []Part) ([]*File, error) {
	p.Record(s)
	var files []*File
	for _, part := range parts {
		files = append(files, &File{name: part.File})
	}
	return files, nil
}

// Export implements Worker.
func (p *Planner) Export(_ context.Context, s *Step, _ string) error {
	p.Record(s)
	return nil
}

// Download implements Worker.
func (p *Planner) Download(_ context.Context, s *Step, r fetch.Request) (*File, error) {
	p.Record(s)
	return &File{name: fileName(r.URL), sha256: r.SHA256}, nil
}

// Local implements Worker.
func (p *Planner) Local(_ context.Context, s *Step, path string) (*File, error) {
	abs, err := filepath.Abs(path)
	p.Needs = append(p.Needs, Need{Name: abs})
	return &File{name: filepath.Base(path)}, err
}

// Keyring implements Worker.
func (p *Planner) Keyring(context.Context, []string, string) (*File, error) {
	return &File{name: "keyring.gpg"}, nil
}

// Installed implements Worker.
func (p *Planner) Installed(program string) bool { return host.Installed(program) }

// Notice implements Worker.
func (p *Planner) Notice(string) {}

// Missing returns an error for each thing the plan needs that the host does not have.
func (p *Planner) Missing() []error {
	packages := make(map[string]string)
	for _, n := range p.Needs {
		if n.Package != "" {
			packages[n.Name] = n.Package
		}
	}
	var errs []error
	seen := make(map[string]bool)
	for _, n := range p.Needs {
		if !seen[n.Name] && !host.Installed(n.Name) {
			errs = append(errs, host.Missing(n.Name, packages[n.Name]))
		}
		seen[n.Name] = true
	}
	return errs
}
