package compat

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Prints Starlark, one line at a time, each with the key it comes from.

// code is recipe text in the making, which remembers what part of the definition each
// line comes from.
type code struct {
	lines []string
	keys  []string // by line: a key of the definition, or ""
}

// add appends text of one or more lines, indented by so many levels.
func (c *code) add(key string, indent int, text string) {
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" {
			line = strings.Repeat("    ", indent) + line
		}
		c.lines = append(c.lines, line)
		c.keys = append(c.keys, key)
	}
}

func (c *code) blank() {
	if n := len(c.lines); n > 0 && c.lines[n-1] != "" {
		c.add("", 0, "")
	}
}

// section appends code with a blank line before it.
func (c *code) section(other *code) {
	if len(other.lines) > 0 {
		c.blank()
		c.append(other)
	}
}

func (c *code) append(other *code) {
	c.lines = append(c.lines, other.lines...)
	c.keys = append(c.keys, other.keys...)
}

func (c *code) String() string { return strings.Join(c.lines, "\n") + "\n" }

// width is where lists and calls are broken into lines.
const width = 100

// call prints a call: on one line if it fits, else with an argument on each.
func call(function string, args ...string) string {
	return bracketed(function+"(", args, ")")
}

func list(items []string) string { return bracketed("[", items, "]") }

func bracketed(open string, items []string, end string) string {
	line := open + strings.Join(items, ", ") + end
	multiline := slices.ContainsFunc(items, func(s string) bool { return strings.Contains(s, "\n") })
	if len(line) <= width && !multiline || len(items) == 0 {
		return line
	}
	var b strings.Builder
	b.WriteString(open + "\n")
	for _, item := range items {
		b.WriteString("    " + strings.ReplaceAll(item, "\n", "\n    ") + ",\n")
	}
	b.WriteString(end)
	return b.String()
}

// named prints an argument with its name.
func named(name, value string) string { return name + " = " + value }

// literal prints a string on one line.
func literal(s string) string { return strconv.Quote(s) }

// bytesLiteral prints bytes that are no text.
func bytesLiteral(s string) string {
	var b strings.Builder
	b.WriteString(`b"`)
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String() + `"`
}

// isLong tells a text that reads better as a constant of several lines.
func isLong(s string) bool { return strings.Contains(strings.TrimSuffix(s, "\n"), "\n") }

// block prints a text of several lines in triple quotes, or as one line where those
// cannot hold it.
func block(s string) string {
	const quotes = `"""`
	escaped := strings.HasSuffix(s, `"`) || strings.HasSuffix(s, `\`) || strings.Contains(s, quotes)
	switch {
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r == '\ufffd' }):
		return literal(s)
	case escaped:
		s = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
	case strings.Contains(s, `\`):
		return "r" + quotes + s + quotes
	}
	return quotes + s + quotes
}

// docstring is what a recipe says of itself.
func docstring(distribution, file string) string {
	text := strings.NewReplacer(`"`, "", `\`, "", "\n", " ").Replace(fmt.Sprintf("%s, translated from %s by imagebuilder convert.", distribution, file))
	return `"""` + text + `"""`
}

// scriptWords says what a script is about: its first comment, else when it is run.
func scriptWords(script, otherwise string) string {
	_, script, _ = strings.Cut(script, "\n")
	for line := range strings.Lines(script) {
		words, ok := strings.CutPrefix(strings.TrimSpace(line), "# ")
		if !ok {
			continue
		}
		name := ""
		for word := range strings.FieldsSeq(words) {
			if len(name)+len(word) > 40 {
				break
			}
			name += " " + word
		}
		if constantName(name) != "TEXT_" {
			return name
		}
	}
	return otherwise
}

// constantName turns words into a name such as ETC_NETWORK_INTERFACES.
func constantName(words string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, words)
	name = strings.Trim(name, "_")
	for strings.Contains(name, "__") {
		name = strings.ReplaceAll(name, "__", "_")
	}
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "TEXT_" + name
	}
	return name
}

// constants are texts of several lines, each with a name, at the top of a recipe.
type constants struct {
	names map[string]string // by text
	taken map[string]bool
	code  code
}

// newConstants returns no constants yet; some names may be taken already.
func newConstants(taken map[string]bool) *constants {
	return &constants{names: make(map[string]string), taken: taken}
}

// name returns the name of a text; words say what it may be called.
func (c *constants) name(text, words, key string) string {
	if name, ok := c.names[text]; ok {
		return name
	}
	base := constantName(words)
	name := base
	for i := 2; c.taken[name]; i++ {
		name = fmt.Sprintf("%s_%d", base, i)
	}
	c.names[text], c.taken[name] = name, true
	c.code.blank()
	c.code.add(key, 0, name+" = "+block(text))
	return name
}

// statement is a line of a function, done under a condition.
type statement struct {
	key       string
	condition string // "" for always
	comment   string
	text      string
}

// function prints a function of statements; neighbours under one condition share it.
func function(head, doc string, statements []statement) *code {
	c := new(code)
	c.add("", 0, head)
	c.add("", 1, `"""`+doc+`"""`)
	previous := ""
	for i, s := range statements {
		if s.comment != "" {
			if i > 0 {
				c.blank()
			}
			c.add(s.key, 1, s.comment)
		}
		indent := 1
		if s.condition != "" {
			indent = 2
			if s.condition != previous || s.comment != "" {
				c.add(s.key, 1, "if "+s.condition+":")
			}
		}
		previous = s.condition
		c.add(s.key, indent, s.text)
	}
	return c
}
