package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"imagebuilder/runtime"
)

// The reference as declarations in Python's syntax, which language servers load.

// referenceStubs prints declarations of all that a recipe has without loading it.
func referenceStubs(out io.Writer, sections []runtime.Section) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "\"\"\"imagebuilder %s: what recipes have without loading it.\"\"\"\n%s", version, ofStarlark)
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
			fmt.Fprintf(w, "    %s%s = ...\n    %s\n", member, fieldType(e), quoted(e.Text))
		}
	}
	return w.Flush()
}

// ofStarlark is what the language itself has and Python has not.
const ofStarlark = `
machine: str = ...
"""The architecture of this machine, as its kernel calls it."""

def load(file: str, *names: str, **renamed: str):
    """Makes names that another file defines known in this one."""
    ...

def fail(*args, sep: str = " "):
    """Ends the recipe with an error."""
    ...
`

// className is the type of the values that the reference calls by a name; the functions that
// make them have their names.
func className(owner string) string {
	if owner == "root" {
		owner = "rootfs"
	}
	name := ""
	for part := range strings.SplitSeq(owner, "_") {
		name += strings.ToUpper(part[:1]) + part[1:]
	}
	return name
}

// fieldType is the type of a field, as far as what is said of it tells that.
func fieldType(e runtime.Entry) string {
	switch {
	case strings.HasPrefix(e.Text, "True if"):
		return ": bool"
	case strings.Contains(e.Text, " dict"):
		return ": dict"
	case strings.Contains(e.Text, " list"):
		return ": list"
	case strings.Contains(e.Text, "in bytes"):
		return ": int"
	case strings.HasPrefix(e.Text, "the image"):
		return ": Image"
	case strings.Contains(e.Text, "None"):
		return ""
	}
	return ": str"
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
		result = " -> " + kindOf[strings.Join(strings.Fields(found[1]), " ")]
	}
	return fmt.Sprintf("%sdef %s(%s)%s:\n%s    %s\n%s    ...\n", indent, function, strings.Join(params, ", "), result,
		indent, quoted(strings.TrimLeft(indented(text, indent+"    "), " ")), indent)
}

// returned matches what a word says that it returns, where that is a type.
var returned = regexp.MustCompile(`^Returns\s+(?:(?:the|an?|second|new|empty)\s+)*(rootfs|root\s+file\s+system|file|image|container\s+image|checksum\s+file|what\s+a\s+packed\s+image|what\s+the\s+files\s+of\s+a\s+source|what\s+a\s+page\s+lists|list|dict|string|text|URL|disk)\b`)

// kindOf is the type of what is called so.
var kindOf = map[string]string{
	"rootfs": "Rootfs", "root file system": "Rootfs", "disk": "Rootfs", "file": "File", "checksum file": "Checksums",
	"image": "Image", "what a packed image": "Image", "container image": "OciImage", "what the files of a source": "Trust",
	"what a page lists": "list[Link]", "list": "list", "dict": "dict", "string": "str", "text": "str", "URL": "str",
}

// named are the types of parameters that are called the same everywhere.
var named = map[string]string{"root": "Rootfs", "url": "str", "path": "str", "name": "str"}

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
