package template

import (
	"regexp"
	"strings"
)

// What code in a template means other than pongo2 would have it is written into the code
// before that reads it. Such code finds what it needs by names in the context.
//
// Definitions were written for pongo2 v4, in which + adds numbers: a text is the number that
// it spells, cut to a whole one, or 0. Since v5 it puts texts together, so "{{ image.release
// + 1 }}" would be 401. All other operators still take texts for numbers: a + b is written as
// a - minus * b, which is the same whatever a and b consist of, since * binds as tightly as
// anything that + may have between it and its second term.

const (
	minus      = "imagebuilder_minus"       // -1
	minusFloat = "imagebuilder_minus_float" // for sums that begin with a number with a point
	chance     = "imagebuilder_chance"      // what the filter random takes its numbers from
)

var (
	// part matches what code is in, and what looks like it and is none.
	part = regexp.MustCompile(`(?s)` + verbatim.String() + `|\{#.*?#\}|\{\{` + code + `\}\}|\{%` + code + `%\}`)
	// token matches a word of code.
	token = regexp.MustCompile(`(?s)` + quoted + `|\d+\.\d+|\w+|[^\s\w]`)
	float = regexp.MustCompile(`^\d+\.`)
)

const (
	quoted = `"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'`
	code   = `(?:` + quoted + `|.)*?`
)

// meaning returns a template that means what it always has.
func meaning(text string) string {
	if !strings.Contains(text, "+") && !strings.Contains(text, "random") {
		return text
	}
	return part.ReplaceAllStringFunc(text, func(part string) string {
		if strings.HasPrefix(part, "{#") || verbatim.MatchString(part) {
			return part
		}
		return meaningOf(part)
	})
}

// meaningOf is meaning for one pair of braces.
func meaningOf(code string) string {
	var b strings.Builder
	done, before := 0, ""
	for _, at := range token.FindAllStringIndex(code, -1) {
		word := code[at[0]:at[1]]
		written := word
		switch {
		case word == "+" && isOperand(before) && float.MatchString(before):
			written = "- " + minusFloat + " *"
		case word == "+" && isOperand(before):
			written = "- " + minus + " *"
		case word == "random" && before == "|":
			written = word + ":" + chance
		}
		b.WriteString(code[done:at[0]] + written)
		done, before = at[1], word
	}
	return b.String() + code[done:]
}

// isOperand tells whether a + behind this word has something to add to.
func isOperand(word string) bool {
	switch word {
	case "in", "and", "or", "not", "if", "elif":
		return false
	}
	return operand.MatchString(word)
}

// operand matches how a text, a number, a name or what stands in brackets ends.
var operand = regexp.MustCompile(`[\w"')\]]$`)
