package main

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"regexp"
	"strings"

	"imagebuilder/runtime"
)

// The whole reference as a page. What is said of each entry is plain text:
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
