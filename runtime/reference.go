package runtime

import (
	"context"
	_ "embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins"
)

// The reference of all that recipes can use, made of what the words themselves say: comments
// of the Go functions, docstrings and parameters of those of the standard library.

// A Section is a part of the reference.
type Section struct {
	Title   string
	Entries []Entry
}

// Titles of the sections of what recipes have without loading it.
const (
	Words   = "Words"
	Methods = "Methods of a rootfs"
	Fields  = "Fields of values"
	Testing = "Words of tests, in files *_test.star"
	Cell    = "Words of matrix files"
)

// An Entry is what the reference says of one word, function or value.
type Entry struct {
	builtins.Doc
	File string // of the standard library, that a recipe loads it from; "": it is there without that
}

//go:embed option.go
var optionSource []byte

// Reference returns the reference of the words, and of the standard library.
func Reference(ctx context.Context) ([]Section, error) {
	r := newRecipe(ctx, "reference", Config{Machine: theMachine})
	if err := r.loadPrelude(); err != nil {
		return nil, err
	}
	ref := reference{loader: r.loader, files: make(map[string]starlark.StringDict), taken: make(map[starlark.Value]bool)}
	if err := ref.load(); err != nil {
		return nil, fmt.Errorf("internal error: %w", r.explain(err))
	}
	words, err := ref.words()
	if err != nil {
		return nil, err
	}
	sections := append(words,
		Section{"Generators, for generate", ref.table(prelude, "_GENERATORS")},
		Section{"Sources, by the names that definitions use", ref.table("sources/index.star", "SOURCES")},
		Section{"Package managers, by the names that definitions use", ref.table("managers/index.star", "MANAGERS")},
	)
	return append(sections, Section{"More of the standard library", ref.rest()}), nil
}

// theMachine stands for that of a run, which is the default of some parameters.
const theMachine = "<machine>"

// A reference is the standard library while it is described.
type reference struct {
	loader *loader
	files  map[string]starlark.StringDict // what each file of the library defines
	names  []string                       // of these, in order
	taken  map[starlark.Value]bool        // what has an entry
}

// load loads all files of the library.
func (r *reference) load() error {
	lib := r.loader.libraries["@stdlib"]
	return fs.WalkDir(lib.files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || path.Ext(name) != ".star" {
			return err
		}
		globals, err := r.loader.load(module{lib, name})
		r.files[name], r.names = globals, append(r.names, name)
		return err
	})
}

// words are the words that recipes have without loading them.
func (r *reference) words() ([]Section, error) {
	docs, err := builtins.Docs()
	if err != nil {
		return nil, err
	}
	option, err := docIn(optionSource, "option")
	if err != nil {
		return nil, err
	}
	words, methods := []Entry{{Doc: option}}, []Entry(nil)
	for _, d := range docs {
		if strings.HasPrefix(d.Name, "root.") {
			methods = append(methods, Entry{Doc: d})
		} else {
			words = append(words, Entry{Doc: d})
		}
	}
	for name, v := range r.files[prelude] {
		if f, ok := functionOf(v); ok && name[0] != '_' {
			words = append(words, r.entry(name, f, ""))
		}
	}
	for name, file := range r.loader.later {
		words = append(words, r.entry(name, r.files[file.path][name], ""))
	}
	byName(words)
	byName(methods)
	var fields []Entry
	for _, d := range builtins.Fields() {
		fields = append(fields, Entry{Doc: d})
	}
	tests, err := testReference()
	if err != nil {
		return nil, err
	}
	cells, err := docIn(cellsSource, "cells")
	return []Section{{Words, words}, {Methods, methods}, {Fields, fields}, {Testing, tests}, {Cell, []Entry{{Doc: cells}}}}, err
}

// testReference describes the words that only tests have, by the comments of their functions.
func testReference() ([]Entry, error) {
	var entries []Entry
	for _, name := range testWords {
		doc, err := docIn(testWordsSource, name)
		if err != nil {
			return nil, err
		}
		entries = append(entries, Entry{Doc: doc})
	}
	return entries, nil
}

// docIn is the documentation of a word by the comment that opens with it in a file of Go.
func docIn(source []byte, name string) (builtins.Doc, error) {
	_, comment, _ := strings.Cut(string(source), "\n// "+name+"(")
	comment, _, _ = strings.Cut(name+"("+comment, "\nfunc ")
	lines := strings.Split(comment, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(line, "//"), " ")
	}
	return builtins.ParseDoc(name, strings.Join(lines, "\n"))
}

func byName(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
}

// table describes what a dict of the library has, by its keys.
func (r *reference) table(file, name string) []Entry {
	dict, ok := r.files[file][name].(*starlark.Dict)
	if !ok {
		return nil
	}
	var entries []Entry
	for _, item := range dict.Items() {
		name, _ := starlark.AsString(item[0])
		entries = append(entries, r.entry(name, item[1], r.fileOf(item[1])))
	}
	byName(entries)
	return entries
}

// fileOf is the file of the library that defines a value under a name that can be loaded.
func (r *reference) fileOf(v starlark.Value) string {
	if f, ok := functionOf(v); ok {
		return strings.TrimPrefix(f.Position().Filename(), "@stdlib//")
	}
	for _, name := range r.names {
		if path.Base(name) == "index.star" {
			continue // which only has what others define
		}
		for global, other := range r.files[name] {
			if other == v && global[0] != '_' {
				return name
			}
		}
	}
	return ""
}

// rest are the public functions of the library that have no entry yet.
func (r *reference) rest() []Entry {
	var entries []Entry
	for _, file := range r.names {
		for name, v := range r.files[file] {
			if f, ok := functionOf(v); ok && name[0] != '_' && !r.taken[f] && r.fileOf(f) == file {
				entries = append(entries, r.entry(name, f, file))
			}
		}
	}
	byName(entries)
	return entries
}

// entry describes a value: a function by its parameters and its docstring, anything else by
// the docstring of its file.
func (r *reference) entry(name string, v starlark.Value, file string) Entry {
	e := Entry{builtins.Doc{Name: name, Signature: name}, file}
	if f, ok := functionOf(v); ok {
		r.taken[f] = true
		e.Signature = f.Name() + parameters(f)
		e.Text, e.Example = builtins.CutExample(dedent(f.Doc()))
	} else if file != "" {
		e.Text, e.Example = builtins.CutExample(dedent(docOf(r.loader.texts["@stdlib//"+file])))
	}
	return e
}

// maxDefault is how long a default is shown; of others it is enough that there is one.
const maxDefault = 40

// parameters are those of a function as a definition writes them.
func parameters(f *starlark.Function) string {
	var list []string
	count := f.NumParams()
	if f.HasKwargs() {
		count--
	}
	if f.HasVarargs() {
		count--
	}
	named := count - f.NumKwonlyParams() // the first that must be named
	for i := range count {
		if i == named && !f.HasVarargs() {
			list = append(list, "*")
		}
		name, _ := f.Param(i)
		if def := f.ParamDefault(i); def != nil {
			text := def.String()
			switch {
			case text == starlark.String(theMachine).String():
				text = "machine"
			case len(text) > maxDefault:
				text = "…"
			}
			name += "=" + text
		}
		if i == named && f.HasVarargs() {
			varargs, _ := f.Param(count)
			list = append(list, "*"+varargs)
		}
		list = append(list, name)
	}
	if named == count && f.HasVarargs() {
		varargs, _ := f.Param(count)
		list = append(list, "*"+varargs)
	}
	if f.HasKwargs() {
		kwargs, _ := f.Param(f.NumParams() - 1)
		list = append(list, "**"+kwargs)
	}
	return "(" + strings.Join(list, ", ") + ")"
}

// dedent takes the indentation of the lines of a docstring behind the first away.
func dedent(doc string) string {
	lines := strings.Split(strings.TrimSpace(doc), "\n")
	indent := -1
	for _, line := range lines[1:] {
		if text := strings.TrimLeft(line, " "); text != "" && (indent < 0 || len(line)-len(text) < indent) {
			indent = len(line) - len(text)
		}
	}
	for i, line := range lines[1:] {
		lines[i+1] = line[min(max(indent, 0), len(line)):]
	}
	return strings.Join(lines, "\n")
}
