package runtime

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"imagebuilder/builtins"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/printable"
	"imagebuilder/builtins/problems"
)

// Errors as users read them: from the line of the recipe down to the cause.

// An Error is an error of a recipe, with where it came from.
type Error struct {
	Frames []Frame // the recipe first, what failed last
	Err    error   // the cause, without positions
}

// Misspelt is an error of what was said on the command line.
type Misspelt struct{ Err error }

func (m Misspelt) Error() string { return m.Err.Error() }
func (m Misspelt) Unwrap() error { return m.Err }

// A Frame is one place on the way to an error.
type Frame struct {
	Pos    string // file:line:column, or file:line: part of what a recipe was made from
	Name   string // of the function; "" for a place that is no call
	Source string // the line
}

func (e *Error) Error() string {
	if len(e.Frames) == 0 {
		return e.Err.Error()
	}
	return fmt.Sprintf("%s: %v", e.Frames[len(e.Frames)-1].Pos, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// explain adds to an error of the interpreter what a reader needs.
func (r *Recipe) explain(err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Err: err}
	for {
		var eval *starlark.EvalError
		if !errors.As(e.Err, &eval) {
			break
		}
		e.add(r.loader, eval.CallStack)
		if e.Err = eval.Unwrap(); e.Err == nil {
			e.Err = errors.New(eval.Msg)
			break
		}
	}
	var list resolve.ErrorList
	var syn syntax.Error
	switch {
	case errors.As(e.Err, &list):
		for _, one := range list {
			e.Frames = append(e.Frames, r.loader.frame(one.Pos, ""))
		}
		e.Err = errors.New(r.loader.joinResolve(list))
	case errors.As(e.Err, &syn):
		e.Frames = append(e.Frames, r.loader.frame(syn.Pos, ""))
		e.Err = errors.New(syn.Msg + habit(syn, r.loader.texts[syn.Pos.Filename()]))
	default:
		e.Err = r.loader.withParameters(withAttributes(e.Err))
	}
	if len(e.Frames) == 0 {
		return err
	}
	return e
}

// add appends the frames of a stack, but not those that have no place: of builtins, and
// of lines that every recipe made from something else has.
func (e *Error) add(l *loader, stack starlark.CallStack) {
	for _, frame := range stack {
		if frame.Pos.Line > 0 && l.where(frame.Pos) != "" && (l.allFrames || !inStdlib(frame.Pos)) {
			e.Frames = append(e.Frames, l.frame(frame.Pos, frame.Name))
		}
	}
}

// inStdlib tells whether a place is in the standard library, whose inside explains nothing to
// those who call it: what is wrong with a call, the error says.
func inStdlib(pos syntax.Position) bool { return strings.HasPrefix(pos.Filename(), "@stdlib//") }

// where prints a position, or what its line was made from.
func (l *loader) where(pos syntax.Position) string {
	place := l.places[pos.Filename()]
	if place == nil {
		return pos.String()
	}
	file, line, part := place(int(pos.Line))
	switch {
	case line > 0 && part != "":
		return fmt.Sprintf("%s:%d: %s", file, line, part)
	case line > 0:
		return fmt.Sprintf("%s:%d", file, line)
	case part != "":
		return file + ": " + part
	}
	return file
}

func (l *loader) frame(pos syntax.Position, name string) Frame {
	f := Frame{Pos: l.where(pos), Name: name}
	if l.places[pos.Filename()] != nil {
		return f // the line would be that of a recipe nobody has written
	}
	lines := strings.Split(l.texts[pos.Filename()], "\n")
	if n := int(pos.Line); n > 0 && n <= len(lines) {
		f.Source = strings.TrimSpace(lines[n-1])
	}
	return f
}

// joinResolve is the text of errors about names. To an unknown one it adds the word
// that may be meant, which only we know.
func (l *loader) joinResolve(list resolve.ErrorList) string {
	texts := make([]string, len(list))
	for i, one := range list {
		texts[i] = one.Msg + instead(one.Msg)
		if name, ok := strings.CutPrefix(one.Msg, "undefined: "); ok {
			if near := builtins.Nearest(name, slices.AppendSeq(l.words.Keys(), maps.Keys(l.later))); near != "" {
				texts[i] += " (did you mean " + near + "?)"
			}
		}
	}
	return strings.Join(texts, "; ")
}

// badCall matches what the interpreter says of calls that are wrong whatever the values:
// of functions of recipes, of its own functions, and of methods that nothing has. That
// NoneType has none may be what an assumed answer has led to.
var badCall = regexp.MustCompile(`^function \S+ (accepts|got|missing|called recursively)|` +
	`^\w+: (unexpected keyword argument|missing argument for|got \d+ arguments, want) |` +
	`^[a-z]\w* has no \.\w+ field or method`)

// isCertain tells whether an error of a plan is one of the run as well, although the plan
// has assumed what the image holds.
func isCertain(err error) bool {
	var misuse builtins.Misuse
	if errors.As(err, &misuse) {
		return true
	}
	var e *Error
	return errors.As(err, &e) && badCall.MatchString(e.Err.Error())
}

// Within says of an error, and of each of several, under which circumstances it comes about.
func Within(what string, err error) error {
	var errs []error
	for _, one := range problems.List(err) {
		var e *Error
		if errors.As(one, &e) {
			errs = append(errs, &Error{Frames: e.Frames, Err: fmt.Errorf("%s: %w", what, e.Err)})
			continue
		}
		errs = append(errs, fmt.Errorf("%s: %w", what, one))
	}
	return problems.Join(errs...)
}

// Explain prints an error as the tool shows it: the places, the cause, and of a
// program that failed its last lines and where the rest is; of several problems each.
func Explain(err error) string {
	var b strings.Builder
	for _, one := range problems.List(err) {
		explainOne(&b, one)
	}
	return b.String()
}

func explainOne(b *strings.Builder, err error) {
	var e *Error
	if errors.As(err, &e) {
		for _, f := range e.Frames {
			b.WriteString(printable.Line(f.Pos) + ":")
			if f.Name != "" {
				b.WriteString(" in " + f.Name)
			}
			b.WriteString("\n")
			if f.Source != "" {
				b.WriteString("    " + printable.Text(f.Source) + "\n")
			}
		}
		err = e.Err
	}
	fmt.Fprintf(b, "error: %s\n", printable.Text(err.Error()))
	var exit *host.ExitError
	if errors.As(err, &exit) {
		for _, line := range strings.Split(exit.Output, "\n") {
			if line != "" {
				fmt.Fprintf(b, "  %s\n", printable.Text(line))
			}
		}
		if exit.Log != "" {
			fmt.Fprintf(b, "the whole output is in %s\n", printable.Line(exit.Log))
		}
	}
}

// docOf returns the string that a file begins with.
func docOf(text string) string {
	f, err := dialect.Parse("", text, 0)
	if err != nil || len(f.Stmts) == 0 {
		return ""
	}
	if stmt, ok := f.Stmts[0].(*syntax.ExprStmt); ok {
		if lit, ok := stmt.X.(*syntax.Literal); ok && lit.Token == syntax.STRING {
			return strings.TrimSpace(lit.Value.(string))
		}
	}
	return ""
}
