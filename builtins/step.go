package builtins

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/pack"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
)

// A Worker does what builtins ask for. There are two: a [Builder] does it, a
// [Planner] writes down what would be done.
type Worker interface {
	// Change changes a root file system.
	Change(ctx context.Context, s *Step) error
	// Look answers a question about the files of a root file system.
	Look(ctx context.Context, root *Rootfs, q sandbox.Look) (sandbox.Answer, error)
	// Pack makes files from a root file system, puts them into the target directory
	// and returns them in the order of the parts.
	Pack(ctx context.Context, s *Step, dir string, parts []Part) ([]*File, error)
	// Export copies a root file system into a directory below the target directory.
	Export(ctx context.Context, s *Step, dir string, replace bool) error
	// Import hands an image to the LXD daemon of this machine.
	Import(ctx context.Context, s *Step, files []*File, fingerprint, alias, description string) error
	// Maintain works on the tree of an image server, which is no part of any layer: it is
	// done every time.
	Maintain(s *Step, work func(*slog.Logger) error) error
	// Download returns the file of a request.
	Download(ctx context.Context, s *Step, r fetch.Request) (*File, error)
	// Local returns a file of the host.
	Local(ctx context.Context, s *Step, path string) (*File, error)
	// Expand turns files of the host, named by a path with wildcards in its last element,
	// into edits that copy them, and adds what they hold to the arguments of the step.
	Expand(s *Step, source, path string) ([]tree.Edit, error)
	// Keyring returns a file with OpenPGP keys.
	Keyring(ctx context.Context, keys []string, keyserver string, armor bool) (*File, error)
	// NewTree returns an empty root file system, nil if nothing is ever done to it.
	NewTree() *layer.Tree
	// TreeOf returns a root file system with the content of a directory of the host.
	TreeOf(ctx context.Context, s *Step, dir string) (*layer.Tree, error)
	// Lacking takes note of something that this version cannot do yet.
	Lacking(s *Step, what string) error
	// Record takes note of something that is no change of files.
	Record(s *Step)
	// Installed tells whether the host has a program.
	Installed(program string) bool
	// Notice tells the user something.
	Notice(text string)
}

// A Step is one effect a recipe asks for.
type Step struct {
	Builtin string
	Root    *Rootfs            // nil: it concerns none
	Args    []Arg              // all that its result depends on, and that a plan shows
	Fresh   Freshness          // what else it depends on, outside the recipe
	Needs   []Need             // what the host must have
	Stack   starlark.CallStack // from main to the builtin
	Spec    sandbox.Spec       // Change: what the child does

	where func(syntax.Position) string
}

// A Part is one file of a packed image.
type Part struct {
	File string // its name
	Args []Arg  // what it depends on besides the root file system
	Make func(context.Context, pack.Job) error
}

// An Arg is one argument of a step, as plain data.
type Arg struct {
	Name  string
	Value any // string, bool, int, []string, map[string]string, *File or nestings of these
}

// A Need is a program or a file that the host must have, and the Debian package that
// brings it.
type Need struct {
	Name    string // program looked up in PATH, or absolute path
	Package string
	At      string // place in the recipe that names it, if it is one's own
}

// frames are the callers of the builtin, main first, and where each of them is.
func (s *Step) frames() []starlark.CallFrame {
	return s.Stack[:len(s.Stack)-1]
}

// inLibrary is the number of the first frame in the standard library.
func (s *Step) inLibrary() int {
	for i, frame := range s.frames() {
		if strings.HasPrefix(frame.Pos.Filename(), "@stdlib//") {
			return i
		}
	}
	return len(s.frames())
}

// Label is what a reader of the recipe would call the step: the word it says.
func (s *Step) Label() string {
	if i := s.inLibrary(); i < len(s.frames()) {
		return s.frames()[i].Name
	}
	return s.Builtin
}

// At is the place in the recipe that asks for the step.
func (s *Step) At() string {
	if i := s.inLibrary(); i > 0 {
		return s.where(s.frames()[i-1].Pos)
	}
	return ""
}

// Summary is one line about what the step does.
func (s *Step) Summary() string {
	for _, arg := range s.Args {
		switch arg.Name {
		case "script", "command":
			return summarize(arg.Value)
		case "path", "url", "tree":
			return fmt.Sprint(arg.Value)
		case "compression":
			return fmt.Sprint(arg.Value)
		}
	}
	return ""
}

func summarize(v any) string {
	switch v := v.(type) {
	case string:
		for _, line := range strings.Split(v, "\n") {
			line = strings.TrimSpace(line)
			if line != "" && line[0] != '#' && !strings.HasPrefix(line, "set -") {
				return line
			}
		}
	case []string:
		return host.Quote(v)
	case []any:
		lines := make([]string, len(v))
		for i, one := range v {
			lines[i] = summarize(one)
		}
		return strings.Join(lines, "; ")
	}
	return ""
}

// newStep begins a step of the builtin that is being called.
func (b *Build) newStep(thread *starlark.Thread, fn *starlark.Builtin, root *Rootfs, args ...Arg) *Step {
	s := &Step{Builtin: fn.Name(), Root: root, Args: args, Stack: thread.CallStack(), where: b.Where}
	if s.where == nil {
		s.where = syntax.Position.String
	}
	return s
}

// inputs are the arguments as part of a layer's key.
func (s *Step) inputs() ([]layer.Input, error) {
	var inputs []layer.Input
	for _, arg := range s.Args {
		// JSON would make all bytes that are not UTF-8 the same.
		if s, ok := arg.Value.(string); ok && !utf8.ValidString(s) {
			inputs = append(inputs, layer.Input{Name: arg.Name + " in hexadecimal", Value: hex.EncodeToString([]byte(s))})
			continue
		}
		text, err := json.Marshal(arg.Value)
		if err != nil {
			return nil, fmt.Errorf("internal error: argument %s of %s: %w", arg.Name, s.Builtin, err)
		}
		inputs = append(inputs, layer.Input{Name: arg.Name, Value: string(text)})
	}
	return inputs, nil
}

// A Freshness says when a step that reads the network must be done again although the
// recipe is the same.
type Freshness struct {
	Daily bool     // every UTC day
	URLs  []string // whenever one of these serves something else
}

// network tells whether a step with this freshness reads the network.
func (f Freshness) network() bool { return f.Daily || len(f.URLs) > 0 }

// plain shows it as a recipe says it.
func (f Freshness) plain() any {
	if f.Daily {
		return "daily"
	}
	return f.URLs
}

// Unpack takes "daily", "never", or a list of URLs.
func (f *Freshness) Unpack(v starlark.Value) error {
	if text, ok := starlark.AsString(v); ok {
		switch text {
		case "daily":
			*f = Freshness{Daily: true}
		case "never":
			*f = Freshness{}
		default:
			return fmt.Errorf(`got %s, want "daily", "never" or a list of URLs`, v)
		}
		return nil
	}
	var urls stringList
	if err := urls.Unpack(v); err != nil {
		return err
	}
	for _, u := range urls {
		if err := (fetch.Request{URL: u}).Check(); err != nil {
			return err
		}
	}
	*f = Freshness{URLs: urls, Daily: len(urls) == 0}
	return nil
}
