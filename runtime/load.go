// Package runtime evaluates recipes: it finds and loads their files, knows their
// options, bounds how long they run, plans them, wires what builds them and explains their
// errors. Loading is pure; effects happen in main, by the words of package builtins.
package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"imagebuilder/builtins"
	"imagebuilder/builtins/library"
	"imagebuilder/recipes"
	"imagebuilder/stdlib"
)

// dialect is the language of recipes: Starlark with sets and, at the top level of a
// file, if and for. Recursion and while stay off, so that every file ends.
var dialect = &syntax.FileOptions{Set: true, TopLevelControl: true}

// prelude is the file whose names every recipe has without loading them.
const prelude = "prelude.star"

// A tree is the files of a library, which load each other by "//path".
type tree struct {
	name  string // "" for the recipe's own, "@stdlib" and the like
	files fs.FS
	dir   string       // directory of the host, where there is one
	pin   *library.Pin // of one of others, what imagebuilder.mod says of it
}

// A module is one file of a library.
type module struct {
	lib  *tree
	path string // slash-separated, from the library's root
}

// String is what errors and plans call the file: the path as a user would give it, or
// its name in a library.
func (m module) String() string {
	if m.lib.name == "" {
		return filepath.Join(m.lib.dir, m.path)
	}
	return m.lib.name + "//" + m.path
}

// A loader loads each file once and remembers what became of it.
type loader struct {
	ctx       context.Context
	libraries map[string]*tree
	base      string                  // directory of the recipe, which may have an imagebuilder.mod
	shelf     library.Options         // where libraries of others are found
	given     func(value string) bool // by the user, for an option
	said      map[string]bool         // paths that files of the recipe itself have by recipe_file
	modules   map[module]*loaded
	defined   []starlark.StringDict // what each file has
	sources   map[string]module     // by the name that positions carry
	texts     map[string]string     // source of files, by the same name
	places    map[string]Place      // of files that were made from something else, by the same name
	core      starlark.StringDict
	words     starlark.StringDict // core and the prelude
	checked   map[*starlark.Function]*checked
	later     map[string]module // files of words that are loaded where a file says the word
	allFrames bool              // of errors, also those in the standard library
	print     func(pos, text string)
}

// loaded is a file that was loaded, or, with done unset, one that is being loaded.
type loaded struct {
	globals starlark.StringDict
	err     error
	done    bool
}

func embedded() map[string]*tree {
	return map[string]*tree{
		"@stdlib": {name: "@stdlib", files: stdlib.FS},
		// They have no files of their own beside them: paths are those of who runs one.
		"@recipes": {name: "@recipes", files: recipes.FS, dir: "."},
	}
}

// load returns the globals of a file, evaluated once.
func (l *loader) load(m module) (starlark.StringDict, error) {
	if e, ok := l.modules[m]; ok {
		if !e.done {
			return nil, fmt.Errorf("cycle in load graph: %s is being loaded already", m)
		}
		return e.globals, e.err
	}
	e := new(loaded)
	l.modules[m] = e
	text, err := m.read()
	if err != nil {
		e.err = fmt.Errorf("cannot read %s: %w", m, pathCause(err))
	} else {
		e.globals, e.err = l.exec(m, string(text))
	}
	e.done = true
	return e.globals, e.err
}

// exec evaluates the text of a file.
func (l *loader) exec(m module, text string) (starlark.StringDict, error) {
	l.sources[m.String()], l.texts[m.String()] = m, text
	words, has, late := l.words, l.words.Has, error(nil)
	if m.lib.name == "@stdlib" {
		words, has = l.core, l.core.Has
	} else if len(l.later) > 0 {
		has = func(name string) bool {
			ok, err := l.has(name)
			late = errors.Join(late, err)
			return ok
		}
	}
	thread, done := l.thread(m.String())
	defer done()
	program, err := compile(m, text, has)
	if err = cmp.Or(late, err); err != nil {
		return nil, err
	}
	globals, err := program.Init(thread, words)
	if err != nil {
		return nil, ended(l.ctx, err)
	}
	for name, v := range globals {
		if err := builtins.CheckFreeze(v); err != nil {
			return nil, fmt.Errorf("%s: cannot keep %s: %w", m, name, err)
		}
	}
	globals.Freeze()
	l.defined = append(l.defined, globals)
	return globals, nil
}

// compiled holds the files of the standard library as they were compiled: they are the same in
// each run, and so are the names of the words.
var compiled sync.Map // by name and text: *starlark.Program

// has tells whether recipes have a word. One that is to be loaded later is loaded now: names
// are looked for only where a file uses them.
func (l *loader) has(name string) (bool, error) {
	file, later := l.later[name]
	if !later || l.words.Has(name) {
		return l.words.Has(name), nil
	}
	globals, err := l.load(file)
	if err == nil {
		l.words[name] = l.checkedWord(globals[name])
	}
	return true, err
}

// compile compiles a file, or returns what that has come to before.
func compile(m module, text string, has func(name string) bool) (*starlark.Program, error) {
	key := [2]string{m.String(), text}
	if program, ok := compiled.Load(key); ok {
		return program.(*starlark.Program), nil
	}
	_, program, err := starlark.SourceProgramOptions(dialect, m.String(), text, has)
	if err == nil && m.lib.name == "@stdlib" {
		compiled.Store(key, program)
	}
	return program, err
}

// thread returns a thread that ends with the context, and what releases it.
func (l *loader) thread(name string) (*starlark.Thread, func() bool) {
	thread := &starlark.Thread{
		Name: name,
		Load: func(thread *starlark.Thread, name string) (starlark.StringDict, error) {
			from := l.sources[thread.CallFrame(0).Pos.Filename()]
			m, err := l.resolve(from, name)
			if err != nil {
				return nil, err
			}
			globals, err := l.load(m)
			if m.lib.name == "@stdlib" && (from.lib != m.lib || from.path == prelude) {
				globals = l.checkedWords(globals)
			}
			return globals, err
		},
		Print: func(thread *starlark.Thread, text string) {
			l.print(thread.CallFrame(1).Pos.String(), text)
		},
	}
	builtins.SetContext(thread, l.ctx)
	return thread, context.AfterFunc(l.ctx, func() { thread.Cancel(context.Cause(l.ctx).Error()) })
}

// ended returns why the context ended, if that is why the thread did.
func ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// resolve finds the file that a load statement in the file from means.
func (l *loader) resolve(from module, name string) (module, error) {
	lib, rest := from.lib, name
	switch {
	case strings.HasPrefix(name, "@"):
		libName, inside, found := strings.Cut(name, "//")
		if !found {
			return module{}, fmt.Errorf("%q names no file of a library: say \"%s//FILE.star\"", name, libName)
		}
		var err error
		if lib, err = l.library(libName); err != nil {
			return module{}, err
		}
		rest = inside
	case strings.HasPrefix(name, "//"):
		rest = name[2:]
	default:
		rest = path.Join(path.Dir(from.path), name)
	}
	// ValidPath knows no "..", no absolute path and no empty element; links out of the
	// root are refused when the file is opened.
	absolute := strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "//")
	if strings.Contains(name, "..") || absolute || !fs.ValidPath(rest) {
		what := "directory of the recipe"
		if lib.name != "" {
			what = "library " + lib.name
		}
		return module{}, fmt.Errorf("%q leaves the %s; name files from there on, as \"//lib/x.star\"", name, what)
	}
	return module{lib, rest}, nil
}

// locate returns the file of the host that a path in a recipe file means.
func (l *loader) locate(from, name string) (string, error) {
	m, ok := l.sources[from]
	if rest, isOfRecipe := strings.CutPrefix(name, builtins.OfRecipe); isOfRecipe && (!l.isForeign(from) || l.said[name]) {
		return filepath.Join(l.base, rest), nil
	}
	if ok && m.lib.pin != nil {
		return l.locateForeign(m, name)
	}
	if filepath.IsAbs(name) {
		return name, nil
	}
	if !ok || m.lib.dir == "" {
		return "", fmt.Errorf("%s is not a file of this machine: only an absolute path can be local to it", from)
	}
	return filepath.Join(m.lib.dir, path.Dir(m.path), name), nil
}
