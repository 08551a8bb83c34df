// Package options is how an option is said once for all who offer it: how it is called, what
// it is if nobody says it, which values make no sense and what it does. A word has a table
// of them, from which a face makes flags or arguments of a call: both then refuse the same
// things in the same words.
//
// What a face does with that is its own concern, and so are the options that only one of
// them has. The package knows no word, no command line and no language.
package options

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/timespan"
)

// A Setting is one option of a word.
type Setting struct {
	Name string // in a recipe: retain_builds
	Of   string // the argument that is a dict with this one in it; "": it is an argument itself
	Flag string // on a command line, without dashes; "": the Name with dashes in it
	Help string // one line for --help. {name} is another setting, `word` stands for the value

	// To is where the value goes, with the default in it: a *string, *int, *float64, *bool
	// or *Opposite, *[]string (separated by commas on a command line) or *Paragraphs, or a
	// Textual, such as a *timespan.Span or a *KeyFile.
	To any
	// Values are the only ones that a *string can have; nil: any.
	Values []string
	// Check returns what is wrong with a value that is not the default, nil if nothing is.
	Check func() error
	// Given is to be set by the face if the user has said the option.
	Given bool

	refused error // what is wrong with the text of a value
}

// Paragraphs are texts in which commas separate nothing.
type Paragraphs []string

// Opposite is a switch whose flag says the opposite of its argument: --no-deltas.
type Opposite bool

// A KeyFile is the path of a file with a secret.
type KeyFile struct{ Path string }

// Set takes a path; any will do until it is read.
func (f *KeyFile) Set(path string) error {
	f.Path = path
	return nil
}

// Type says in the help of a flag what its value is.
func (f *KeyFile) Type() string { return "file" }

func (f *KeyFile) String() string { return f.Path }

// A Once is a text that can be said only once.
type Once struct {
	Text string
	Err  error // of another one

	said bool
}

// Set takes the text.
func (o *Once) Set(text string) error {
	if o.said {
		return o.Err
	}
	o.Text, o.said = text, true
	return nil
}

// Type says in the help of a flag what its value is.
func (o *Once) Type() string { return "string" }

func (o *Once) String() string { return o.Text }

// A Textual is a value that is read from text, as those of flags are.
type Textual interface {
	Set(text string) error
	Type() string
	String() string
}

var _, _, _, _ Textual = (*KeyFile)(nil), (*Once)(nil), (*timespan.Span)(nil), (*bytesize.Size)(nil)

// Read sets a value that is read from text. That it makes no sense shows when all options
// are checked.
func (s *Setting) Read(text string) {
	s.refused = s.To.(Textual).Set(text)
}

// Default returns the text of the value, which is the default until a face sets it.
func (s *Setting) Default() string {
	if t, ok := s.To.(Textual); ok {
		return t.String()
	}
	return fmt.Sprint(reflect.Indirect(reflect.ValueOf(s.To)))
}

// FlagName returns what the option is called on a command line, without dashes.
func (s *Setting) FlagName() string {
	if s.Flag != "" {
		return s.Flag
	}
	return strings.ReplaceAll(s.Name, "_", "-")
}

// A Spelling is how a face writes the name of an option.
type Spelling func(*Setting) string

// InRecipe spells options as arguments: retain_builds, page["url"].
func InRecipe(s *Setting) string {
	if s.Of != "" {
		return fmt.Sprintf("%s[%q]", s.Of, s.Name)
	}
	return s.Name
}

// AsFlag spells options as flags: --retain-builds, --page-url.
func AsFlag(s *Setting) string { return "--" + s.FlagName() }

// A Table is the options of one word, as one face spells them.
type Table struct {
	settings []*Setting
	spell    Spelling
	together []func() error // what several options say together
}

// New returns a table without options.
func New(spell Spelling) Table { return Table{spell: spell} }

// Settings returns the options in the order in which a call takes them.
func (t *Table) Settings() []*Setting { return t.settings }

// Add adds options.
func (t *Table) Add(settings ...*Setting) { t.settings = append(t.settings, settings...) }

// Get returns the option of a name.
func (t *Table) Get(name string) *Setting {
	for _, s := range t.settings {
		if s.Name == name && s.Of == "" {
			return s
		}
	}
	panic("internal error: there is no option " + name)
}

// Named spells the option of a name.
func (t *Table) Named(name string) string { return t.Spell(t.Get(name)) }

// Spell spells an option.
func (t *Table) Spell(s *Setting) string { return t.spell(s) }

// Together adds a check of what several options say together.
func (t *Table) Together(check func() error) { t.together = append(t.together, check) }

// reference is a {name} in a help text.
var reference = regexp.MustCompile(`\{(\w+)\}`)

// Help returns the help text of an option.
func (t *Table) Help(s *Setting) string {
	return reference.ReplaceAllStringFunc(s.Help, func(ref string) string { return t.Named(ref[1 : len(ref)-1]) })
}

// Check returns the first thing that is wrong with the options.
func (t *Table) Check() error {
	for _, s := range t.settings {
		err := s.refused
		if text, ok := s.To.(*string); ok && s.Values != nil && !slices.Contains(s.Values, *text) {
			err = Want(*text, strings.Join(s.Values, " or "))
		}
		if err == nil && s.Check != nil && s.Given {
			err = s.Check()
		}
		if wrong := (valueError{}); errors.As(err, &wrong) {
			return fmt.Errorf("%s %s: %w", t.Spell(s), wrong.value, wrong.error)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.Spell(s), err)
		}
	}
	for _, check := range t.together {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// A valueError is what is wrong with a value that the message does not show by itself.
type valueError struct {
	value string
	error
}

func (e valueError) Unwrap() error { return e.error }

// Want is the error of a value that is not as it must be.
func Want(value any, what string) error {
	return valueError{fmt.Sprint(reflect.Indirect(reflect.ValueOf(value))), errors.New("want " + what)}
}
