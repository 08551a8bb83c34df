package builtins

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/lxd"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
)

// A Planner is the Worker that does nothing and takes note of everything. What only
// the build itself can know, such as the content of a file in the image, is assumed:
// files that are asked for exist, and are empty.
type Planner struct {
	Steps    []PlannedStep
	Needs    []Need
	Problems []error // what stands in the way of a build besides missing needs
	Assumed  bool    // an answer was assumed

	packed packedRoots

	// Has tells whether the host has a program; nil: this machine is asked.
	Has func(program string) bool
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

// TreeOf implements Worker.
func (p *Planner) TreeOf(_ context.Context, s *Step, dir string) (*layer.Tree, error) {
	p.Record(s)
	return nil, p.needPath(s, dir)
}

// needPath takes note of a file or directory of the host that a recipe names.
func (p *Planner) needPath(s *Step, name string) error {
	abs, err := filepath.Abs(name)
	p.Needs = append(p.Needs, Need{Name: abs, At: s.At()})
	return err
}

// Lacking implements Worker.
func (p *Planner) Lacking(s *Step, what string) error {
	p.Record(s)
	if s.Root != nil {
		s.Root.filled = true
	}
	p.Problems = append(p.Problems, lackingError(s, what))
	return nil
}

// Change implements Worker.
func (p *Planner) Change(_ context.Context, s *Step) error {
	p.Record(s)
	s.Root.filled = true
	return nil
}

// Look implements Worker.
func (p *Planner) Look(_ context.Context, _ *Rootfs, q sandbox.Look) (sandbox.Answer, error) {
	p.Assumed = true
	return sandbox.Answer{Found: true}, nil
}

// Pack implements Worker.
func (p *Planner) Pack(_ context.Context, s *Step, dir string, parts []Part) ([]*File, error) {
	p.Record(s)
	if !s.Root.filled && s.Root.source == "" {
		return nil, errEmpty
	}
	if err := p.packed.add(s, dir, parts); err != nil {
		return nil, err
	}
	var files []*File
	for _, part := range parts {
		files = append(files, &File{name: part.File})
	}
	return files, nil
}

// Export implements Worker.
func (p *Planner) Export(_ context.Context, s *Step, _ string, _ bool) error {
	p.Record(s)
	return nil
}

// Import implements Worker.
func (p *Planner) Import(ctx context.Context, s *Step, _ []*File, _, _, _ string) error {
	p.Record(s)
	if _, err := lxd.Connect(ctx, os.Getenv); err != nil {
		p.Problems = append(p.Problems, at(s.At(), err))
	}
	return nil
}

// Download implements Worker.
func (p *Planner) Download(_ context.Context, s *Step, r fetch.Request) (*File, error) {
	p.Record(s)
	return &File{name: fileName(r.URL), sha256: r.SHA256}, nil
}

// Expand implements Worker.
func (p *Planner) Expand(s *Step, source, _ string) ([]tree.Edit, error) {
	if strings.ContainsAny(filepath.Base(source), `*?[\`) {
		if matches, err := matching(source); err == nil && matches[0] == source { // and no such file
			if _, err := os.Lstat(source); err != nil {
				p.Problems = append(p.Problems, at(s.At(), fmt.Errorf("nothing matches %s", source)))
			}
		}
		source = filepath.Dir(source)
	}
	return nil, p.needPath(s, source)
}

// Local implements Worker.
func (p *Planner) Local(_ context.Context, s *Step, path string) (*File, error) {
	return &File{name: filepath.Base(path)}, p.needPath(s, path)
}

// Keyring implements Worker.
func (p *Planner) Keyring(context.Context, []string, string, bool) (*File, error) {
	return &File{name: "keyring.gpg"}, nil
}

// Installed implements Worker.
func (p *Planner) Installed(program string) bool {
	if p.Has != nil {
		return p.Has(program)
	}
	return host.Installed(program)
}

// Notice implements Worker.
func (p *Planner) Notice(string) {}

// Missing returns all that stands in the way of a build: what this version lacks, and
// what the host does.
func (p *Planner) Missing() []error {
	var errs []error
	said := make(map[string]bool)
	add := func(err error) {
		if !said[err.Error()] {
			said[err.Error()] = true
			errs = append(errs, err)
		}
	}
	for _, err := range p.Problems {
		add(err)
	}
	packages := make(map[string]string)
	for _, n := range p.Needs {
		if n.Package != "" {
			packages[n.Name] = n.Package
		}
	}
	for _, n := range p.Needs {
		if !p.Installed(n.Name) {
			add(at(n.At, host.Missing(n.Name, packages[n.Name])))
		}
	}
	return errs
}
