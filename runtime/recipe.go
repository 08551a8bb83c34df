package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"go.starlark.net/starlark"

	"imagebuilder/builtins"
	"imagebuilder/builtins/build"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/library"
)

// A recipe from its name to its plan. How one is built is in build.go.

// Config says how recipes are evaluated.
type Config struct {
	Options Given         // -o NAME=VALUE
	Keys    []string      // -o KEY=VALUE of the definition that the recipe is translated from
	Secrets build.Secrets // --secret NAME=FILE
	Now     time.Time     // when the run happens, for all that it makes
	Epoch   host.Epoch    // what it makes is dated by; then Now is that moment
	Machine string        // machine name of uname(2)
	Stdin   io.Reader     // where the recipe "-" is read
	Log     *slog.Logger  // gets what recipes print; nil: nothing does
	Place   Place         // where the lines of a text come from; nil: from itself

	Tools []string // those of [build.Choices] that are to be used; nil: those that are there

	Libraries library.Options // where shared libraries are found

	AllFrames bool // errors show the way through the standard library, too
}

// A Place tells for a line of a recipe that was made from something else the file, the
// line, 0 if there is none, and the name of the part that it was made from.
type Place func(line int) (file string, at int, part string)

// A Recipe is a loaded recipe.
type Recipe struct {
	Name string // as given
	Doc  string // its first string

	loader       *loader
	words        *builtins.Words
	options      *options
	keys         []string // of a definition, that are set
	tools        []string // see Config
	entry        starlark.Value
	log          *slog.Logger    // gets what the recipe prints
	wishes       []fetch.Wish    // downloads that a run begins with, once it is known to be ready
	plannedSteps int             // how many steps it has then, as far as a plan knows
	needs        map[string]bool // what it needs of the machine, by name, as far as a plan knows
}

// Load loads a recipe: the path of a file, "-" for standard input, the name of one that comes
// with the tool, or a file of a library. It has no effects but that libraries are downloaded.
func Load(ctx context.Context, name string, config Config) (*Recipe, error) {
	r := newRecipe(ctx, name, config)
	m, text, err := r.loader.main(name, config.Stdin)
	if err != nil {
		return nil, err
	}
	if err := r.loadPrelude(); err != nil {
		return nil, err
	}
	var globals starlark.StringDict
	if text != nil { // not nil for an empty file, either
		r.loader.modules[m] = new(loaded) // being loaded
		globals, err = r.loader.exec(m, string(text))
	} else {
		globals, err = r.loader.load(m)
	}
	if err != nil {
		return nil, r.explain(err)
	}
	return r, r.finish(m, globals)
}

// LoadText loads a recipe from its text. Paths in it are relative to the current
// directory.
func LoadText(ctx context.Context, name, text string, config Config) (*Recipe, error) {
	r := newRecipe(ctx, name, config)
	lib, err := r.loader.open(".")
	if err != nil {
		return nil, err
	}
	if err := r.loadPrelude(); err != nil {
		return nil, err
	}
	m := module{lib, filepath.Base(name)} // paths in it are not relative to where it is
	if config.Place != nil {
		r.loader.places[m.String()] = config.Place
	}
	globals, err := r.loader.exec(m, text)
	if err != nil {
		return nil, r.explain(err)
	}
	return r, r.finish(m, globals)
}

func newRecipe(ctx context.Context, name string, config Config) *Recipe {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	r := &Recipe{Name: name, options: &options{given: config.Options}, keys: config.Keys, tools: config.Tools, log: config.Log}
	r.loader = &loader{
		ctx:       ctx,
		libraries: embedded(),
		shelf:     config.Libraries,
		given:     config.Options.has,
		said:      make(map[string]bool),
		modules:   make(map[module]*loaded),
		sources:   make(map[string]module),
		texts:     make(map[string]string),
		places:    make(map[string]Place),
		checked:   make(map[*starlark.Function]*checked),
		allFrames: config.AllFrames,
		print:     func(pos, text string) { r.log.Info("printed", "at", pos, "text", text) },
	}
	r.loader.shelf.Log = config.Log
	r.words = &builtins.Words{Now: config.Now, Epoch: config.Epoch, Machine: config.Machine, Log: config.Log, Secrets: config.Secrets, Locate: r.loader.locate, Where: r.loader.where,
		Foreign: r.loader.isForeign, Given: r.loader.given, Say: func(path string) { r.loader.said[path] = true }}
	return r
}

func (r *Recipe) loadPrelude() error {
	l := r.loader
	l.core = r.words.Predeclared()
	l.core["option"] = starlark.NewBuiltin("option", r.options.option)
	words, err := l.load(module{l.libraries["@stdlib"], prelude})
	if cause := context.Cause(l.ctx); cause != nil {
		return cause
	}
	if err != nil {
		return fmt.Errorf("internal error: %w", r.explain(err))
	}
	l.words = make(starlark.StringDict, len(l.core)+len(words))
	for _, names := range []starlark.StringDict{l.core, words} {
		for name, v := range names {
			if name[0] != '_' {
				l.words[name] = l.checkedWord(v)
			}
		}
	}
	l.later = l.lateWords(words)
	return nil
}

// lateWords are the files of the words that the prelude only names.
func (l *loader) lateWords(prelude starlark.StringDict) map[string]module {
	later := make(map[string]module)
	if table, ok := prelude["_LATER"].(*starlark.Dict); ok {
		for _, item := range table.Items() {
			name, _ := starlark.AsString(item[0])
			file, _ := starlark.AsString(item[1])
			later[name] = module{l.libraries["@stdlib"], file}
		}
	}
	return later
}

// finish checks what can only be checked once all files are loaded.
func (r *Recipe) finish(m module, globals starlark.StringDict) error {
	r.options.closed = true
	if err := r.options.unknown(); err != nil {
		return err
	}
	r.Doc = docOf(r.loader.texts[m.String()])
	main, ok := globals["main"].(*starlark.Function)
	if !ok {
		return fmt.Errorf("%s has no function main: what a recipe does is done there", m)
	}
	if main.NumParams() > 0 {
		return fmt.Errorf("%s: main takes parameters; declare options instead", main.Position())
	}
	r.entry = main
	return nil
}

// Options returns the recipe's parameters in the order of their declaration.
func (r *Recipe) Options() []Option { return r.options.declared }

// Plan runs main without any effect and returns what it would do. What the recipe says is
// left for the run.
func (r *Recipe) Plan() (*build.Planner, error) {
	planner := new(build.Planner)
	return planner, r.PlanOn(planner)
}

// PlanOn is Plan for a machine that the planner knows.
func (r *Recipe) PlanOn(planner *build.Planner) error {
	r.words.Log = slog.New(slog.DiscardHandler)
	planner.Tools = r.tools
	return r.run(planner)
}

// Check plans the recipe and reports what is wrong with it as far as that can be known
// before it runs. The planner knows what the recipe needs of this machine.
func (r *Recipe) Check() (*build.Planner, error) {
	planner := new(build.Planner)
	return planner, r.check(planner)
}

func (r *Recipe) check(planner *build.Planner) error {
	log := r.log
	defer func() { r.log = log }()
	r.log = slog.New(slog.DiscardHandler)
	err := r.PlanOn(planner)
	if err == nil && len(planner.Steps) == 0 && len(planner.Answers) == 0 {
		log.Warn("main does nothing: images are made and packed by what it calls, as 'imagebuilder recipes debian' shows", "recipe", r.Name)
	}
	r.warnOfChance(planner.Steps, log.Warn)
	// What goes wrong after an answer was assumed may be the assumption's fault.
	if planner.Assumed() && r.loader.ctx.Err() == nil && !isCertain(err) {
		planner.Doubtful, err = err, nil
	}
	return err
}

// run runs main; the worker does what it asks for.
func (r *Recipe) run(worker build.Worker) error {
	r.words.Worker = worker
	thread, done := r.loader.thread("main")
	defer done()
	err := r.explain(r.words.Run(thread, r.entry))
	cause := context.Cause(r.loader.ctx)
	if err == nil || cause == nil {
		return err
	}
	var e *Error
	if errors.As(err, &e) { // the place tells what was under way
		return &Error{Frames: e.Frames, Err: cause}
	}
	return cause
}
