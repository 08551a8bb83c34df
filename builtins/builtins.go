// Package builtins is the vocabulary of recipes: the Starlark faces of the engines
// below it, one file for each family of words. A builtin unpacks its arguments, asks
// a [Worker] for one thing and converts the answer; what is made of the words in
// Starlark itself is in package stdlib.
//
// The comment of each function that carries a builtin opens with the signature as a
// recipe writes it.
package builtins

import (
	"context"
	"fmt"

	"go.starlark.net/lib/json"
	"go.starlark.net/lib/math"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"

	"imagebuilder/builtins/host"
)

// A Build is what the builtins of one run of a recipe act on.
type Build struct {
	Worker  Worker     // carries out what recipes ask for, or records it
	Clock   host.Clock // for serials
	Machine string     // machine name of uname(2), the default architecture

	// Locate returns the file of the host that a path means which is said in a recipe
	// file, for local. It is the runtime that knows where recipes come from.
	Locate func(module, path string) (string, error)

	// Where prints a position; nil: as it is.
	Where func(syntax.Position) string

	running bool // main runs
}

// A builtin is one row of the vocabulary.
type builtin struct {
	do   func(*Build, *starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error)
	pure bool // may be called while files are loaded
}

var vocabulary = map[string]builtin{
	"chroot_run":    {do: (*Build).chrootRun},
	"download":      {do: (*Build).download},
	"export":        {do: (*Build).export},
	"fork":          {do: (*Build).fork},
	"host_run":      {do: (*Build).hostRun},
	"import_lxd":    {do: (*Build).importLXD},
	"installed":     {do: (*Build).installed},
	"keyring":       {do: (*Build).keyring},
	"lacking":       {do: (*Build).lacking},
	"local":         {do: (*Build).local},
	"make_image":    {do: (*Build).makeImage, pure: true},
	"render":        {do: (*Build).render, pure: true},
	"misuse":        {do: (*Build).misuse, pure: true},
	"notice":        {do: (*Build).notice},
	"pack_lxc":      {do: (*Build).packLXC},
	"pack_lxd":      {do: (*Build).packLXD},
	"rootfs":        {do: (*Build).rootfs},
	"stream_add":    {do: (*Build).streamAdd},
	"stream_build":  {do: (*Build).streamBuild},
	"stream_list":   {do: (*Build).streamList},
	"stream_prune":  {do: (*Build).streamPrune},
	"stream_verify": {do: (*Build).streamVerify},
	"struct":        {do: (*Build).makeStruct, pure: true},
	"unpack":        {do: (*Build).unpack},
}

// Predeclared returns the names that a recipe file can use without loading them.
func (b *Build) Predeclared() starlark.StringDict {
	names := starlark.StringDict{
		"json":    json.Module,
		"math":    math.Module,
		"machine": starlark.String(b.Machine),
	}
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

// Run calls main, the function of a recipe in which effects happen.
func (b *Build) Run(thread *starlark.Thread, main starlark.Value) error {
	b.running = true
	defer func() { b.running = false }()
	_, err := starlark.Call(thread, main, nil, nil)
	return err
}

// struct(**kwargs) returns an immutable value with the arguments as its attributes.
func (b *Build) makeStruct(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return starlarkstruct.Make(thread, fn, args, kwargs)
}

// notice(text) says something on the progress log: what a user of the recipe should
// know and can do nothing wrong about.
func (b *Build) notice(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var text string
	if err := unpackArgs(fn, args, kwargs, "text", &text); err != nil {
		return nil, err
	}
	b.Worker.Notice(text)
	return starlark.None, nil
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
