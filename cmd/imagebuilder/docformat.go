package main

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"regexp"
	"slices"
	"strings"

	"imagebuilder/runtime"
)

// The whole reference as a page, and as stubs. What is said of each entry is plain text:
// paragraphs, and below "Args:" a list of parameters.

// A docPart is a paragraph, or an item of a list.
type docPart struct {
	name string // of the parameter that an item is about; "": it is a paragraph
	text string
}

// item matches the first line of an item.
var item = regexp.MustCompile(`^  (\*{0,2}\w[\w, *]*): (.*)$`)

// partsOf takes the text of an entry apart.
func partsOf(text string) []docPart {
	var parts []docPart
	open := false // the last one goes on
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		found := item.FindStringSubmatch(line)
		switch {
		case line == "":
			open = false
		case found != nil:
			parts, open = append(parts, docPart{found[1], found[2]}), true
		case open:
			parts[len(parts)-1].text += " " + strings.TrimSpace(line)
		default:
			parts, open = append(parts, docPart{"", strings.TrimSpace(line)}), true
		}
	}
	return parts
}

// inExamples says what all examples have without making it.
const inExamples = "In examples, img is an image and root a rootfs."

// whole is what an entry says, as a sentence begins.
func whole(e runtime.Entry) string {
	if e.File == "" && e.Text != "" {
		return strings.ToUpper(e.Text[:1]) + e.Text[1:]
	}
	return e.Text
}

// loadOf is how a recipe gets what an entry is about; "": it has it.
func loadOf(e runtime.Entry) string {
	function, _, called := strings.Cut(e.Signature, "(")
	if e.File == "" || !called && strings.ContainsAny(function, "-") {
		return ""
	}
	return fmt.Sprintf("load(\"@stdlib//%s\", \"%s\")", e.File, function)
}

func referenceMarkdown(out io.Writer, sections []runtime.Section) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "# imagebuilder %s: what recipes can use\n\n%s\n", version, inExamples)
	for _, s := range sections {
		fmt.Fprintf(w, "\n## %s\n", s.Title)
		for _, e := range s.Entries {
			fmt.Fprintf(w, "\n### %s\n\n```python\n%s\n```\n", e.Name, e.Signature)
			if load := loadOf(e); load != "" {
				fmt.Fprintf(w, "\n`%s`\n", load)
			}
			inList := false
			for _, b := range partsOf(whole(e)) {
				if b.name == "" {
					fmt.Fprintf(w, "\n%s\n", b.text)
				} else {
					if !inList {
						fmt.Fprintln(w)
					}
					fmt.Fprintf(w, "- `%s`: %s\n", b.name, b.text)
				}
				inList = b.name != ""
			}
			if e.Example != "" {
				fmt.Fprintf(w, "\nExample:\n\n```python\n%s\n```\n", e.Example)
			}
		}
	}
	return w.Flush()
}

const pageHead = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>imagebuilder: what recipes can use</title>
<style>
body { max-width: 50em; margin: auto; padding: 1em; font: 16px/1.5 sans-serif }
pre, code { font-family: monospace; white-space: pre-wrap }
pre { padding: .5em; border: 1px solid; border-radius: 3px }
nav a { display: inline-block; margin-right: .7em }
</style>
</head>
<body>
`

func referenceHTML(out io.Writer, sections []runtime.Section) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "%s<h1>imagebuilder %s: what recipes can use</h1>\n<p>%s</p>\n<nav>\n", pageHead, version, inExamples)
	for i, s := range sections {
		fmt.Fprintf(w, "<h2>%s</h2>\n", html.EscapeString(s.Title))
		for j, e := range s.Entries {
			fmt.Fprintf(w, "<a href=\"#%s\">%s</a>\n", anchor(i, j), html.EscapeString(e.Name))
		}
	}
	fmt.Fprintln(w, "</nav>")
	for i, s := range sections {
		fmt.Fprintf(w, "<h2>%s</h2>\n", html.EscapeString(s.Title))
		for j, e := range s.Entries {
			fmt.Fprintf(w, "<h3 id=\"%s\">%s</h3>\n<pre>%s</pre>\n", anchor(i, j), html.EscapeString(e.Name), html.EscapeString(e.Signature))
			if load := loadOf(e); load != "" {
				fmt.Fprintf(w, "<p><code>%s</code></p>\n", html.EscapeString(load))
			}
			inList := false
			for _, b := range partsOf(whole(e)) {
				if inList != (b.name != "") {
					fmt.Fprintln(w, map[bool]string{true: "</ul>", false: "<ul>"}[inList])
					inList = !inList
				}
				if inList {
					fmt.Fprintf(w, "<li><code>%s</code>: %s</li>\n", html.EscapeString(b.name), html.EscapeString(b.text))
				} else {
					fmt.Fprintf(w, "<p>%s</p>\n", html.EscapeString(b.text))
				}
			}
			if inList {
				fmt.Fprintln(w, "</ul>")
			}
			if e.Example != "" {
				fmt.Fprintf(w, "<p>Example:</p>\n<pre>%s</pre>\n", html.EscapeString(e.Example))
			}
		}
	}
	fmt.Fprint(w, "</body>\n</html>\n")
	return w.Flush()
}

// anchor names an entry within the page: sections may have entries of one name.
func anchor(section, entry int) string { return fmt.Sprintf("s%d-%d", section, entry) }

// referenceStubs prints declarations in Python's syntax, as language servers for Starlark load
// them: of all that a recipe has without loading it.
func referenceStubs(out io.Writer, sections []runtime.Section) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "\"\"\"imagebuilder %s: what recipes have without loading it.\"\"\"\n", version)
	classes := make(map[string][]runtime.Entry)
	var names []string
	for _, s := range sections {
		for _, e := range s.Entries {
			owner, _, member := strings.Cut(e.Name, ".")
			switch {
			case s.Title == runtime.Words:
				fmt.Fprintf(w, "\n%s", stub(e, "", e.Signature))
			case member && (s.Title == runtime.Methods || s.Title == runtime.Fields):
				if !slices.Contains(names, owner) {
					names = append(names, owner)
				}
				classes[owner] = append(classes[owner], e)
			}
		}
	}
	for _, owner := range names {
		fmt.Fprintf(w, "\nclass %s:\n", className(owner))
		for _, e := range classes[owner] {
			_, member, _ := strings.Cut(e.Signature, ".")
			if function, params, ok := strings.Cut(member, "("); ok {
				if params != ")" {
					params = ", " + params
				}
				fmt.Fprintf(w, "\n%s", stub(e, "    ", function+"(self"+params))
				continue
			}
			fmt.Fprintf(w, "    %s = None\n    %s\n", member, quoted(e.Text))
		}
	}
	return w.Flush()
}

// className is the type whose values the reference calls by a name.
func className(owner string) string {
	if owner == "root" {
		return "rootfs"
	}
	return owner
}

// stub is the declaration of a function.
func stub(e runtime.Entry, indent, signature string) string {
	function, list, _ := strings.Cut(signature, "(")
	var params []string
	defaults := false // from here on, all have one or are named
	for _, p := range splitParameters(strings.TrimSuffix(list, ")")) {
		has := strings.Contains(p, "=") || strings.HasPrefix(p, "*") || p == "…"
		if defaults && !has && !slices.ContainsFunc(params, func(p string) bool { return strings.HasPrefix(p, "*") }) {
			params = append(params, "*")
		}
		defaults = defaults || has
		params = append(params, typed(p))
	}
	text := whole(e)
	if e.Example != "" {
		text += "\n\nExample:\n" + indented(e.Example, "    ")
	}
	result := ""
	if found := returned.FindStringSubmatch(whole(e)); found != nil {
		result = " -> " + kindOf[found[1]]
	}
	return fmt.Sprintf("%sdef %s(%s)%s:\n%s    %s\n%s    ...\n", indent, function, strings.Join(params, ", "), result,
		indent, quoted(strings.TrimLeft(indented(text, indent+"    "), " ")), indent)
}

// returned matches what a word says that it returns, where that is a type.
var returned = regexp.MustCompile(`^Returns (?:the|an?) (?:new |empty )?(rootfs|file|image|list|dict|string|text|trust|disk)\b`)

// kindOf is the type of what is called so.
var kindOf = map[string]string{
	"rootfs": "rootfs", "file": "file", "image": "image", "list": "list", "dict": "dict", "string": "str", "text": "str",
	"trust": "trust", "disk": "rootfs",
}

// named are the types of parameters that are called the same everywhere.
var named = map[string]string{"root": "rootfs", "img": "image", "url": "str", "path": "str", "name": "str"}

// literal matches a default that is one of Python's.
var literal = regexp.MustCompile(`^(".*"|'.*'|-?\d+(\.\d+)?|True|False|None|\[\]|\{\}|\(\))$`)

// typed is a parameter with its type, as far as its name or its default tells that.
func typed(p string) string {
	if p == "…" { // more than the signature says
		return "**kwargs"
	}
	name, def, has := strings.Cut(p, "=")
	kind := named[name]
	if !has {
		if kind == "" {
			return name
		}
		return name + ": " + kind
	}
	if !literal.MatchString(def) {
		def = "..."
	}
	switch {
	case strings.HasPrefix(def, `"`):
		kind = "str"
	case def == "True" || def == "False":
		kind = "bool"
	case def == "[]":
		kind = "list"
	case def == "{}":
		kind = "dict"
	case def[0] >= '0' && def[0] <= '9' && strings.Contains(def, "."):
		kind = "float"
	case def[0] >= '0' && def[0] <= '9':
		kind = "int"
	}
	if kind == "" {
		return name + "=" + def
	}
	return name + ": " + kind + " = " + def
}

// splitParameters cuts a list of parameters at its commas, but not inside of defaults.
func splitParameters(list string) []string {
	var params []string
	depth, from, inText := 0, 0, false
	for i, c := range []byte(list) {
		switch {
		case c == '"':
			inText = !inText
		case inText:
		case strings.IndexByte("([{", c) >= 0:
			depth++
		case strings.IndexByte(")]}", c) >= 0:
			depth--
		case c == ',' && depth == 0:
			params, from = append(params, strings.TrimSpace(list[from:i])), i+1
		}
	}
	if last := strings.TrimSpace(list[from:]); last != "" {
		params = append(params, last)
	}
	return params
}

// quoted is a docstring.
func quoted(text string) string {
	return `"""` + strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), `"""`, `\"\"\"`) + `"""`
}
