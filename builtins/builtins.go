// Package builtins is the vocabulary of recipes: the Starlark faces of what package build
// can do, one file for each family of words. A builtin unpacks its arguments, asks a
// [build.Worker] for an effect, seldom for two, and converts the answer. How things are
// done is no concern of this package, and neither is what words are made of these in
// Starlark itself: that is in package stdlib.
//
// The comment of each function that carries a builtin opens with the signature as a
// recipe writes it. A new word is such a function and its row in the vocabulary.
package builtins

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"go.starlark.net/lib/math"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/host"
)

// Words are the builtins of one run of a recipe, with what they act on.
type Words struct {
	Worker  build.Worker // carries out what recipes ask for, or records it
	Now     time.Time    // when the run happens, for all that it makes
	Epoch   host.Epoch   // what is made is dated by it
	Machine string       // machine name of uname(2), the default architecture
	Log     *slog.Logger // gets what the user should know
	Offline bool         // programs have no network, whatever a recipe says
	Secrets build.Secrets

	// Locate returns the file of the host that a path means which is said in a recipe
	// file, or begins with OfRecipe. It is the runtime that knows where recipes come from.
	Locate func(module, path string) (string, error)

	// Foreign tells whether a recipe file is of a library of others, which sees no more of
	// this machine than its own files and what the user has given; nil: none is.
	Foreign func(module string) bool

	// Given tells whether the user has given a path, as the value of an option.
	Given func(path string) bool

	// Say is told a path that a file of the recipe itself has by recipe_file, which a library of
	// others then may use; nil: nobody is told.
	Say func(path string)

	// Where prints a position; nil: as it is.
	Where func(syntax.Position) string

	running bool            // main runs
	said    map[string]bool // what the user was told in this run
}

// A builtin is one row of the vocabulary.
type builtin struct {
	do   func(*Words, *starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error)
	pure bool // may be called while files are loaded
}

var vocabulary = map[string]builtin{
	"boot_test":          {do: (*Words).bootTest},
	"check_machine":      {do: (*Words).checkMachine},
	"checksums":          {do: (*Words).makeChecksums, pure: true},
	"chroot_run":         {do: (*Words).chrootRun},
	"download":           {do: (*Words).download},
	"download_ahead":     {do: (*Words).downloadAhead},
	"export":             {do: (*Words).export},
	"exported":           {do: (*Words).exported},
	"first_found":        {do: (*Words).firstFound},
	"fork":               {do: (*Words).fork},
	"host_run":           {do: (*Words).hostRun},
	"import_incus":       {do: (*Words).importIncus},
	"import_lxd":         {do: (*Words).importLXD},
	"installed":          {do: (*Words).installed},
	"installed_packages": {do: (*Words).installedPackages},
	"join_url":           {do: (*Words).joinURL, pure: true},
	"keyring":            {do: (*Words).keyring},
	"latest":             {do: (*Words).latest, pure: true},
	"links":              {do: (*Words).links},
	"local":              {do: (*Words).local},
	"make_disk":          {do: (*Words).makeDisk},
	"make_image":         {do: (*Words).makeImage, pure: true},
	"matches":            {do: (*Words).matches, pure: true},
	"misuse":             {do: (*Words).misuse, pure: true},
	"newest":             {do: (*Words).newest, pure: true},
	"notice":             {do: (*Words).notice},
	"oci_image":          {do: (*Words).ociImage},
	"pack_incus":         {do: (*Words).packIncus},
	"pack_lxc":           {do: (*Words).packLXC},
	"pack_lxd":           {do: (*Words).packLXD},
	"pack_oci":           {do: (*Words).packOCI},
	"parameters":         {do: (*Words).parameters, pure: true},
	"quote":              {do: (*Words).quote, pure: true},
	"recipe_file":        {do: (*Words).recipeFile, pure: true},
	"render":             {do: (*Words).render, pure: true},
	"rootfs":             {do: (*Words).rootfs},
	"session":            {do: (*Words).session},
	"stream_add":         {do: (*Words).streamAdd},
	"stream_build":       {do: (*Words).streamBuild},
	"stream_list":        {do: (*Words).streamList},
	"stream_prune":       {do: (*Words).streamPrune},
	"stream_verify":      {do: (*Words).streamVerify},
	"struct":             {do: (*Words).makeStruct, pure: true},
	"trust":              {do: (*Words).makeTrust, pure: true},
	"unpack":             {do: (*Words).unpack},
	"unpack_image":       {do: (*Words).unpackImage},
	"windows_drivers":    {do: (*Words).windowsDrivers},
	"windows_medium":     {do: (*Words).windowsMedium},
	"windows_repack":     {do: (*Words).windowsRepack},
}

// Predeclared returns the names that a recipe file can use without loading them.
func (b *Words) Predeclared() starlark.StringDict { return b.predeclared(vocabulary) }

func (b *Words) predeclared(vocabulary map[string]builtin) starlark.StringDict {
	names := starlark.StringDict{
		"json":    jsonModule,
		"math":    math.Module,
		"machine": starlark.String(b.Machine),
		"epoch":   starlark.None,
	}
	if b.Epoch != "" {
		names["epoch"] = starlark.MakeInt64(b.Epoch.Seconds())
	}
	maps.Copy(names, printing())
	for name, word := range vocabulary {
		names[name] = starlark.NewBuiltin(name, func(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
			if !b.running && !word.pure {
				return nil, fmt.Errorf("%s: only available while main runs", name)
			}
			return word.do(b, thread, fn, args, kwargs)
		})
	}
	return names
}

// clock stands still at the moment of the run.
func (b *Words) clock() time.Time { return b.Now }

// Run calls main, the function of a recipe in which effects happen.
func (b *Words) Run(thread *starlark.Thread, main starlark.Value) error {
	b.running, b.said = true, nil
	defer func() { b.running = false }()
	_, err := starlark.Call(thread, main, nil, nil)
	return err
}

// notice(text) says something on the progress log: what a user of the recipe should
// know and can do nothing wrong about.
//
// Example:
//
//	if img.release == "sid":
//	    notice("sid changes every day, and may be broken")
func (b *Words) notice(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var text string
	if err := unpackArgs(fn, args, kwargs, "text", &text); err != nil {
		return nil, err
	}
	b.Log.Warn(text)
	return starlark.None, nil
}

// say says something on the progress log once in a run.
func (b *Words) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if b.said[text] {
		return
	}
	if b.said == nil {
		b.said = make(map[string]bool)
	}
	b.said[text] = true
	b.Log.Warn(text)
}

// contextKey is the one thread-local value; see SetContext.
const contextKey = "imagebuilder.context"

// SetContext gives a thread the context that bounds what its builtins do. It must be
// called before the thread runs anything.
func SetContext(thread *starlark.Thread, ctx context.Context) { thread.SetLocal(contextKey, ctx) }

// Context returns the context of a thread.
func Context(thread *starlark.Thread) context.Context {
	ctx, ok := thread.Local(contextKey).(context.Context)
	if !ok {
		panic("internal error: builtins.SetContext was not called for thread " + thread.Name)
	}
	return ctx
}
