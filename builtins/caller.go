package builtins

import (
	"fmt"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/fetch"
)

// Who asks for an effect. What the recipes of the user may do to this machine, libraries of
// others may not, whoever calls their functions.

// callerFile is the recipe file whose paths a builtin was given: that of the first caller
// outside the standard library, which only passes paths on. Builtins that call functions pass
// on what these are.
func callerFile(thread *starlark.Thread) string {
	return caller(thread, func(file string) bool { return !inStdlib(file) })
}

// callingFile is the file in which a builtin is called, that of the standard library, too.
func callingFile(thread *starlark.Thread) string {
	return caller(thread, func(string) bool { return true })
}

func caller(thread *starlark.Thread, counts func(file string) bool) string {
	for depth := 1; depth < thread.CallStackDepth(); depth++ {
		if name := thread.CallFrame(depth).Pos.Filename(); name != "<builtin>" && counts(name) {
			return name
		}
	}
	return ""
}

func inStdlib(file string) bool { return strings.HasPrefix(file, "@stdlib//") }

// foreign tells whether a file is of a library of others.
func (b *Words) foreign(file string) bool { return b.Foreign != nil && b.Foreign(file) }

// checkReach refuses paths and URLs of files of this machine that a library of others says,
// unless the user has given them: it has no way to what its own files are not, and those are
// not to be changed.
func (b *Words) checkReach(thread *starlark.Thread, names ...string) error {
	file := callerFile(thread)
	if !b.foreign(file) {
		return nil
	}
	for _, name := range names {
		if name != "" && !b.Given(name) {
			return Misuse{fmt.Errorf("%s is of a library, which cannot use %s of this machine: only what the value of an option names", file, name)}
		}
	}
	return nil
}

// checkURLs is checkReach for URLs, most of which name nothing of this machine.
func (b *Words) checkURLs(thread *starlark.Thread, urls ...string) error {
	for _, url := range urls {
		if fetch.IsFile(url) {
			if err := b.checkReach(thread, url); err != nil {
				return err
			}
		}
	}
	return nil
}
