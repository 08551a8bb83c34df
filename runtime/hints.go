package runtime

import (
	"fmt"
	"regexp"
	"strings"

	"go.starlark.net/syntax"

	"imagebuilder/builtins"
)

// What an error of the language means, to those who write Python or look for a name.

// habits are what Starlark has instead of what Python has, by a part of the parser's message.
var habits = []struct{ message, instead string }{
	{"got import", `to use what another file defines, write load("other.star", "name")`},
	{"got from", `to use what another file defines, write load("other.star", "name")`},
	{"while loops", "write for ... in range(...), and break"},
	{"got class", "there are no classes: functions and dicts do"},
	{"got try", "no error can be caught: ask first, as by root.exists"},
	{"got except", "no error can be caught: ask first, as by root.exists"},
	{"got raise", `write fail("...")`},
	{"got with", "there is no with: what is opened is closed by the tool"},
	{"got is", "write == for is"},
	{"got del", "write x.pop(key) to remove an item"},
	{"got global", "a function cannot assign to a global name: return the value"},
	{"got nonlocal", "a function cannot assign to a name outside of it: return the value"},
	{"got '**'", "there are no powers: multiply"},
	{"got '&'", "write and for &&"},
	{"got '|'", "write or for ||"},
	{"input character '!'", "write not for !"},
	{"got yield", "there are no generators: return a list"},
	{"got newline, want ':'", "the line lacks a colon at its end"},
}

// habit is what to say of a syntax error of a text besides; "" if there is nothing.
func habit(err syntax.Error, text string) string {
	lines := strings.Split(text, "\n")
	line := ""
	if n := int(err.Pos.Line); n > 0 && n <= len(lines) {
		line = lines[n-1]
	}
	switch {
	case strings.Contains(err.Msg, "got string literal") && fString.MatchString(line):
		return `: there are no f-strings: write "... %s" % x, or "... {}".format(x)`
	case strings.HasPrefix(strings.TrimSpace(line), "assert "):
		return `: write if not ...: fail("...")`
	case dent.MatchString(err.Msg) && mixesTabs(lines):
		return ": some lines are indented by tabs, others by spaces"
	}
	return instead(err.Msg)
}

// instead is what to say of a message about something that Starlark does not have.
func instead(message string) string {
	for _, h := range habits {
		if strings.Contains(message, h.message) {
			return ": " + h.instead
		}
	}
	return ""
}

// fString matches the begin of an f-string.
var fString = regexp.MustCompile(`(^|[^\w"'])[fF]["']`)

// dent matches errors of indentation.
var dent = regexp.MustCompile(`indent|outdent`)

// mixesTabs tells lines of which some are indented by tabs, and others by spaces.
func mixesTabs(lines []string) bool {
	tabs, spaces := false, false
	for _, line := range lines {
		tabs = tabs || strings.HasPrefix(line, "\t")
		spaces = spaces || strings.HasPrefix(line, " ")
	}
	return tabs && spaces
}

// noAttribute matches what the interpreter says of a name that a value does not have, unless it
// knows which one is meant.
var noAttribute = regexp.MustCompile(`^([a-z]\w*) has no \.\w+ field or method$`)

// maxListed is how many names are said to somebody who has said none like them.
const maxListed = 30

// withAttributes adds to an error about a name that a value does not have those that it has.
func withAttributes(err error) error {
	found := noAttribute.FindStringSubmatch(err.Error())
	if found == nil {
		return err
	}
	names := builtins.Attributes(found[1])
	if len(names) == 0 || len(names) > maxListed {
		return err
	}
	return fmt.Errorf("%w; it has .%s", err, strings.Join(names, ", ."))
}

// badName matches what the interpreter says of an argument that a function does not take.
var badName = regexp.MustCompile(`^function (\S+) got an unexpected keyword argument "(\w+)"$`)

// withParameters says which argument of a function may be meant by one that it does not take.
func (l *loader) withParameters(err error) error {
	found := badName.FindStringSubmatch(err.Error())
	if found == nil {
		return err
	}
	for _, globals := range l.defined {
		for _, v := range globals {
			if f, ok := functionOf(v); ok && f.Name() == found[1] {
				return fmt.Errorf("%s: %w", f.Name(), builtins.UnknownArgument(found[2], parameterNames(f)))
			}
		}
	}
	return err
}
