package template

import (
	"regexp"
	"strings"
)

// Definitions were written for pongo2 v4, in which + adds numbers: a text is the number that
// it spells, cut to a whole one, or 0. Since v5 it puts texts together, so "{{ image.release
// + 1 }}" would be 401. All other operators still take texts for numbers: this file writes
// a + b as a - minus * b, which is the same whatever a and b consist of, since * binds as
// tightly as anything that + may have between it and its second term.

// The names by which templates find -1. The second is for sums that begin with a number
// with a point, in which texts count with what they have behind theirs.
const (
	minus      = "imagebuilder_minus"
	minusFloat = "imagebuilder_minus_float"
)

// operators are what the text of a template finds under these names.
func operators() map[string]any { return map[string]any{minus: -1, minusFloat: -1.0} }

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

// adding returns a template in which + is that of pongo2 v4.
func adding(text string) string {
	if !strings.Contains(text, "+") {
		return text
	}
	return part.ReplaceAllStringFunc(text, func(part string) string {
		if strings.HasPrefix(part, "{#") || verbatim.MatchString(part) {
			return part
		}
		return addingIn(part)
	})
}

// addingIn is adding for one pair of braces.
func addingIn(code string) string {
	var b strings.Builder
	done, before := 0, ""
	for _, at := range token.FindAllStringIndex(code, -1) {
		word := code[at[0]:at[1]]
		if word == "+" && isOperand(before) {
			name := minus
			if float.MatchString(before) {
				name = minusFloat
			}
			b.WriteString(code[done:at[0]] + "- " + name + " *")
			done = at[1]
		}
		before = word
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
