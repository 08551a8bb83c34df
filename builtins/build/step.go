package build

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
)

// What is said of an effect before anybody carries it out. Keys, plans and the checks
// before a run are made of it.

// A Step is what all effects have in common: where a recipe asks for one, and what it
// depends on.
type Step struct {
	Builtin string    // the word of Go that asks for it
	Label   string    // what a reader of the recipe would call it: the word that says
	At      string    // file:line:column in the recipe; "" in a plan of something else
	Root    *Root     // nil: it concerns none
	Args    Args      // what its result depends on, as a plan shows it
	Also    Args      // what it depends on besides, that every plan would show alike
	Details Args      // what Args and Also mean in full, for readers
	Fresh   Freshness // what else it depends on, outside the recipe
	Needs   []Need    // what the host must have

	// Ready tells what stands in the way of the step; it is found before a build starts.
	// nil: nothing can.
	Ready func(ctx context.Context) error
}

// An Arg is one argument of a step, as plain data.
type Arg struct {
	Name  string
	Value any // string, bool, int, []string, map[string]string, *File or nestings of these
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

// inputs are the arguments as part of a layer's key.
func (a Args) inputs() ([]layer.Input, error) {
	var inputs []layer.Input
	for _, arg := range a {
		// JSON would make all bytes that are not UTF-8 the same.
		if text, ok := arg.Value.(string); ok && !utf8.ValidString(text) {
			inputs = append(inputs, layer.Input{Name: arg.Name + " in hexadecimal", Value: hex.EncodeToString([]byte(text))})
			continue
		}
		text, err := json.Marshal(arg.Value)
		if err != nil {
			return nil, fmt.Errorf("internal error: argument %s: %w", arg.Name, err)
		}
		inputs = append(inputs, layer.Input{Name: arg.Name, Value: string(text)})
	}
	return inputs, nil
}

// A Need is a program or a file that the host must have, and the Debian package that
// brings it.
type Need struct {
	Name    string // program looked up in PATH, or absolute path
	Package string
	At      string // place in the recipe that names it, if it is one's own
}

// Summary is one line about what the step does.
func (s *Step) Summary() string {
	for _, arg := range s.Args {
		switch arg.Name {
		case "script", "command":
			return summarize(arg.Value)
		case "path", "url", "tree", "compression", "ends":
			return fmt.Sprint(arg.Value)
		case "files":
			if files, ok := arg.Value.([]*File); ok {
				return fileNames(files)
			}
		case "urls": // the first stands for all
			if urls, ok := arg.Value.([]string); ok && len(urls) > 0 {
				return urls[0]
			}
		}
	}
	for _, arg := range s.Args { // of what is unpacked there is nothing better
		switch v := arg.Value.(type) {
		case *File:
			return v.Name
		case WindowsSource:
			return filepath.Base(v.Name())
		}
	}
	return ""
}

func fileNames(files []*File) string {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name
	}
	return strings.Join(names, ", ")
}

func summarize(v any) string {
	switch v := v.(type) {
	case string:
		for line := range strings.Lines(v) {
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

// at puts the place in the recipe, if there is one, before an error.
func at(place string, err error) error {
	if place == "" {
		return err
	}
	return fmt.Errorf("%s: %w", place, err)
}

// claims are the names below the target directory that a run has given to products, and
// where in the recipe.
type claims map[string]string

// check finds what is wrong with a product, whoever makes it: nothing may be made of an
// empty root file system or within a session, nor take the place of an earlier product of
// the run.
func (c *claims) check(s *Step, p Product) error {
	if p.OfRoot && s.Root.Empty() {
		return errors.New("cannot pack the rootfs: it is empty; put files into it first")
	}
	if p.OfRoot && s.Root.InSession() {
		return errors.New("cannot pack the rootfs: it is in a session; do it after that")
	}
	if p.Claim == "" {
		return nil
	}
	if place, ok := (*c)[p.Claim]; ok {
		return fmt.Errorf("%s is packed already, at %s; give one of them a directory by dir", p.Claim, place)
	}
	if *c == nil {
		*c = make(claims)
	}
	(*c)[p.Claim] = s.At
	return nil
}
