package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// What is likely to be a mistake in a file although it can be loaded. The names of the
// warnings and the comment that turns one off are those of buildifier. Its own checks are not
// used: they know neither our words nor all of the language, and bring the libraries of
// protocol buffers along.

// A Finding is something in a file that is likely to be a mistake.
type Finding struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Col  int    `json:"col"`
	Name string `json:"name"` // of the warning, as comments that turn it off say it
	Text string `json:"text"`
	Fix  string `json:"fix"`
}

// Warnings are the names of all warnings, with what to do about one.
var Warnings = map[string]string{
	"function-docstring-args": "make the section Args say what the parameters are",
	"load":                    "load only what is used",
	"no-effect":               "use the value, or remove it",
	"syntax":                  "it cannot be loaded so",
	"undefined":               "'imagebuilder doc' lists the words that there are",
	"unreachable":             "remove it, or what ends the block before it",
	"unused-variable":         "remove it, or let the name of a local one begin with _",
}

// Lint returns the findings in a file, in the order of its lines.
func Lint(ctx context.Context, name, text string) ([]Finding, error) {
	r := newRecipe(ctx, name, Config{})
	if err := r.loadPrelude(); err != nil {
		return nil, err
	}
	l := &linter{loader: r.loader, name: name, uses: make(map[*syntax.Ident]int)}
	file, err := dialect.Parse(name, text, 0)
	if err != nil {
		var bad syntax.Error
		if !errors.As(err, &bad) {
			return nil, err
		}
		l.find("syntax", bad.Pos, "%s", bad.Msg)
		return l.found, nil
	}
	l.resolve(file)
	l.count(file)
	l.block(file.Stmts)
	syntax.Walk(file, l.visit)
	l.unused(file)
	off := disabled(file, text)
	l.found = slices.DeleteFunc(l.found, func(f Finding) bool { return off(f.Line, f.Name) })
	slices.SortStableFunc(l.found, func(a, b Finding) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	return l.found, nil
}

// A linter looks at one file.
type linter struct {
	loader *loader
	name   string
	found  []Finding
	uses   map[*syntax.Ident]int // by the place that binds a name first
}

func (l *linter) find(name string, pos syntax.Position, format string, args ...any) {
	l.found = append(l.found, Finding{l.name, int(pos.Line), int(pos.Col), name, fmt.Sprintf(format, args...), Warnings[name]})
}

// isMain tells whether a statement defines what makes a file a recipe.
func isMain(stmt syntax.Stmt) bool {
	def, ok := stmt.(*syntax.DefStmt)
	return ok && def.Name.Name == "main"
}

// resolve finds what the names of a file mean.
func (l *linter) resolve(file *syntax.File) {
	test := strings.HasSuffix(l.name, "_test.star")
	matrix := !slices.ContainsFunc(file.Stmts, isMain) // or a library: that it is none, who runs it is told
	err := resolve.File(file, func(name string) bool {
		_, later := l.loader.later[name]
		return later || l.loader.words.Has(name) || test && (name == "plan" || name == "assert") || matrix && name == "cells"
	}, starlark.Universe.Has)
	var list resolve.ErrorList
	if errors.As(err, &list) {
		for _, one := range list {
			text := l.loader.joinResolve(resolve.ErrorList{one})
			if what, ok := strings.CutPrefix(text, "undefined: "); ok {
				l.find("undefined", one.Pos, "there is no %s", what)
			} else {
				l.find("syntax", one.Pos, "%s", text)
			}
		}
	}
}

// count counts how often each name is used.
func (l *linter) count(file *syntax.File) {
	defines := make(map[*syntax.Ident]bool)
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.AssignStmt:
			if n.Op == syntax.EQ {
				markDefined(n.LHS, defines)
			}
		case *syntax.ForStmt:
			markDefined(n.Vars, defines)
		case *syntax.ForClause:
			markDefined(n.Vars, defines)
		case *syntax.DefStmt:
			defines[n.Name] = true
		case *syntax.LoadStmt:
			for _, to := range n.To {
				defines[to] = true
			}
		case *syntax.Ident:
			if b, ok := n.Binding.(*resolve.Binding); ok && b.First != nil && !defines[n] {
				l.uses[b.First]++
			}
		}
		return true
	})
}

// markDefined takes note of the names that an assignment to an expression binds.
func markDefined(to syntax.Expr, defines map[*syntax.Ident]bool) {
	switch to := to.(type) {
	case *syntax.Ident:
		defines[to] = true
	case *syntax.ParenExpr:
		markDefined(to.X, defines)
	case *syntax.TupleExpr:
		for _, one := range to.List {
			markDefined(one, defines)
		}
	case *syntax.ListExpr:
		for _, one := range to.List {
			markDefined(one, defines)
		}
	}
}

// unused finds names that nothing uses: of loads, of assignments to one name, and of
// functions that no other file can load. Parameters are part of an agreement, and of several
// values that are taken apart one often needs some.
func (l *linter) unused(file *syntax.File) {
	seen := make(map[*syntax.Ident]bool)
	bound := func(name string, id *syntax.Ident) {
		b, ok := id.Binding.(*resolve.Binding)
		if !ok || b.First == nil || seen[b.First] || l.uses[b.First] > 0 {
			return
		}
		seen[b.First] = true
		private := strings.HasPrefix(id.Name, "_")
		if global := b.Scope == resolve.Global; name == "load" || global == private {
			l.find(name, id.NamePos, "%s is not used", id.Name)
		}
	}
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.LoadStmt:
			for _, to := range n.To {
				bound("load", to)
			}
		case *syntax.DefStmt:
			bound("unused-variable", n.Name)
		case *syntax.AssignStmt:
			if id, ok := n.LHS.(*syntax.Ident); ok && n.Op == syntax.EQ {
				bound("unused-variable", id)
			}
		}
		return true
	})
}

// visit looks at one node.
func (l *linter) visit(n syntax.Node) bool {
	switch n := n.(type) {
	case *syntax.DefStmt:
		l.block(n.Body)
		l.docstring(n)
	case *syntax.ForStmt:
		l.block(n.Body)
	case *syntax.WhileStmt:
		l.block(n.Body)
	case *syntax.IfStmt:
		l.block(n.True)
		l.block(n.False)
	}
	return true
}

// block looks at statements that follow each other.
func (l *linter) block(stmts []syntax.Stmt) {
	ended := false
	for i, stmt := range stmts {
		start, _ := stmt.Span()
		if ended {
			l.find("unreachable", start, "this is never reached")
		}
		ended = false
		switch stmt := stmt.(type) {
		case *syntax.ReturnStmt:
			ended = true
		case *syntax.BranchStmt:
			ended = stmt.Token != syntax.PASS
		case *syntax.ExprStmt:
			lit, isLit := stmt.X.(*syntax.Literal)
			doc := i == 0 && isLit && lit.Token == syntax.STRING
			if !doc && !hasCall(stmt.X) {
				l.find("no-effect", start, "the value of this is not used")
			}
		}
	}
}

// hasCall tells whether an expression calls anything.
func hasCall(x syntax.Expr) bool {
	found := false
	syntax.Walk(x, func(n syntax.Node) bool {
		_, call := n.(*syntax.CallExpr)
		found = found || call
		return !found
	})
	return found
}

// argLine is a line of the section Args of a docstring, for one parameter or several.
var argLine = regexp.MustCompile(`^( *)(\*{0,2}\w+(?:(?:, | and )\*{0,2}\w+)*)(?: \([^)]*\))?:`)

// docstring compares the section Args of a docstring, if there is one, with the parameters.
func (l *linter) docstring(def *syntax.DefStmt) {
	stmt, ok := def.Body[0].(*syntax.ExprStmt)
	if !ok {
		return
	}
	lit, ok := stmt.X.(*syntax.Literal)
	if !ok || lit.Token != syntax.STRING {
		return
	}
	said := saidArgs(lit.Value.(string))
	if said == nil {
		return
	}
	params := make(map[string]bool)
	for _, p := range def.Params {
		if id := paramName(p); id != nil {
			params[id.Name] = true
			if !said[id.Name] && !strings.HasPrefix(id.Name, "_") {
				l.find("function-docstring-args", id.NamePos, "the docstring of %s does not say what %s is", def.Name.Name, id.Name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		if !params[name] {
			l.find("function-docstring-args", lit.TokenPos, "%s has no parameter %s", def.Name.Name, name)
		}
	}
}

func paramName(p syntax.Expr) *syntax.Ident {
	switch p := p.(type) {
	case *syntax.Ident:
		return p
	case *syntax.BinaryExpr: // with a default
		return p.X.(*syntax.Ident)
	case *syntax.UnaryExpr: // * and **
		id, _ := p.X.(*syntax.Ident)
		return id
	}
	return nil
}

// saidArgs are the parameters that a docstring explains; nil: it has no such section.
func saidArgs(doc string) map[string]bool {
	var said map[string]bool
	indent, first := "", -1 // of the section, and of the first line in it
	for line := range strings.Lines(doc) {
		line = strings.TrimRight(line, " \n")
		if strings.TrimSpace(line) == "Args:" {
			said, indent = make(map[string]bool), line[:len(line)-len("Args:")]
			continue
		}
		if said == nil || line == "" {
			continue
		}
		if !strings.HasPrefix(line, indent+" ") {
			break
		}
		if first < 0 {
			first = len(line) - len(strings.TrimLeft(line, " "))
		}
		if m := argLine.FindStringSubmatch(line); m != nil && len(m[1]) == first {
			for _, name := range strings.Split(strings.ReplaceAll(m[2], " and ", ", "), ", ") {
				said[strings.TrimLeft(name, "*")] = true
			}
		}
	}
	return said
}

var disableComment = regexp.MustCompile(`#\s*buildifier:\s*disable=([\w-]+(?:\s*,\s*[\w-]+)*)`)

// disabled tells whether a comment turns a warning off at a line: one at its end, or one before
// the statement that it is in.
func disabled(file *syntax.File, text string) func(line int, name string) bool {
	type span struct{ from, to int }
	off := make(map[string][]span)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		m := disableComment.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		at := span{i + 1, i + 1}
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			next := i + 1 // index of the line that it is about
			for next < len(lines) && strings.HasPrefix(strings.TrimSpace(lines[next]), "#") {
				next++
			}
			at = span{next + 1, next + 1}
			syntax.Walk(file, func(n syntax.Node) bool {
				if stmt, ok := n.(syntax.Stmt); ok {
					if start, end := stmt.Span(); int(start.Line) == at.from {
						at.to = max(at.to, int(end.Line))
					}
				}
				return true
			})
		}
		for _, name := range strings.Split(m[1], ",") {
			off[strings.TrimSpace(name)] = append(off[strings.TrimSpace(name)], at)
		}
	}
	return func(line int, name string) bool {
		return slices.ContainsFunc(off[name], func(s span) bool { return s.from <= line && line <= s.to })
	}
}
