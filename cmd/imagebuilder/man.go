package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imagebuilder/runtime"
)

// Manual pages: one for each command, of what its help says, and one for the language, of the
// reference. They are written by what installs the tool.

// languagePage is the manual page of the words of recipes.
const languagePage = "imagebuilder-words"

// writeManual writes all pages below a directory of manuals.
func writeManual(dir string, root *cobra.Command, sections []runtime.Section) error {
	pages := map[string][]byte{}
	addCommandPages(pages, root)
	var b bytes.Buffer
	referencePage(&b, sections)
	pages["man5/"+languagePage+".5"] = b.Bytes()
	for name, text := range pages {
		if err := writePage(filepath.Join(dir, name), emptyParagraph.ReplaceAll(text, []byte("$1"))); err != nil {
			return fmt.Errorf("cannot write the manual: %w", err)
		}
	}
	return nil
}

// writePage writes a page, whose directory need not be there yet.
func writePage(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return writeFile(file, text)
}

// emptyParagraph matches the beginning of a paragraph where a section begins anyway.
var emptyParagraph = regexp.MustCompile(`(?m)^(\.S[HS] .*\n)\.PP\n`)

// addCommandPages adds the page of a command and of all below it.
func addCommandPages(pages map[string][]byte, cmd *cobra.Command) {
	var b bytes.Buffer
	commandPage(&b, cmd)
	pages["man1/"+pageName(cmd)+".1"] = b.Bytes()
	for _, sub := range shownCommands(cmd) {
		addCommandPages(pages, sub)
	}
}

// shownCommands are those below a command that its help lists, without help itself.
func shownCommands(cmd *cobra.Command) []*cobra.Command {
	var list []*cobra.Command
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			list = append(list, sub)
		}
	}
	return list
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func commandPage(w io.Writer, cmd *cobra.Command) {
	pageTitle(w, pageName(cmd), 1, cmd.Short)
	fmt.Fprintf(w, ".SH SYNOPSIS\n.B %s\n", verbatim(cmd.CommandPath()))
	_, arguments, _ := strings.Cut(cmd.UseLine(), cmd.CommandPath())
	if arguments = strings.TrimSpace(arguments); arguments != "" {
		fmt.Fprintf(w, "%s\n", verbatim(arguments))
	}
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	fmt.Fprint(w, ".SH DESCRIPTION\n")
	pageText(w, text)
	if subs := shownCommands(cmd); len(subs) > 0 {
		fmt.Fprint(w, ".SH COMMANDS\n")
		for _, sub := range subs {
			fmt.Fprintf(w, ".TP\n.BR %s (1)\n%s.\n", verbatim(pageName(sub)), prose(sub.Short))
		}
	}
	if flags := cmd.NonInheritedFlags(); flags.HasAvailableFlags() {
		fmt.Fprint(w, ".SH OPTIONS\n")
		flags.VisitAll(func(f *pflag.Flag) { pageFlag(w, f) })
	}
	if cmd.Example != "" {
		fmt.Fprint(w, ".SH EXAMPLES\n")
		pageBlock(w, unindented(cmd.Example))
	}
	fmt.Fprint(w, ".SH SEE ALSO\n")
	if cmd.HasParent() {
		fmt.Fprintf(w, ".BR %s (1),\n", verbatim(pageName(cmd.Parent())))
	}
	fmt.Fprintf(w, ".BR %s (5)\n", verbatim(languagePage))
}

// pageFlag prints an option as its help does.
func pageFlag(w io.Writer, f *pflag.Flag) {
	if f.Hidden || f.Name == "help" {
		return
	}
	argument, usage := pflag.UnquoteUsage(f)
	name := `\fB` + verbatim("--"+f.Name) + `\fR`
	if f.Shorthand != "" {
		name = `\fB` + verbatim("-"+f.Shorthand) + `\fR, ` + name
	}
	if argument != "" {
		name += ` \fI` + verbatim(argument) + `\fR`
	}
	switch f.DefValue {
	case "", "false", "0", "0s", "[]":
	default:
		usage += " (default: " + f.DefValue + ")"
	}
	fmt.Fprintf(w, ".TP\n%s\n%s\n", name, prose(usage))
}

// referencePage prints the words of recipes with all that is said of them.
func referencePage(w io.Writer, sections []runtime.Section) {
	pageTitle(w, languagePage, 5, "What recipes can use")
	fmt.Fprint(w, ".SH DESCRIPTION\n")
	pageText(w, `A recipe is a program in Starlark, a small Python. Loading it has no effects; what its
function main calls are steps, each of which is done once.

`+inExamples+` What has a line load(...) below its name is there for recipes that say so.`)
	for _, s := range sections {
		fmt.Fprintf(w, ".SH %s\n", prose(strings.ToUpper(s.Title)))
		for _, e := range s.Entries {
			fmt.Fprintf(w, ".SS %s\n", verbatim(signature(e)))
			if load := loadOf(e); load != "" {
				pageBlock(w, load)
			}
			for _, part := range partsOf(whole(e)) {
				if part.name == "" {
					fmt.Fprintf(w, ".PP\n%s\n", prose(part.text))
				} else {
					fmt.Fprintf(w, ".TP\n.B %s\n%s\n", verbatim(part.name), prose(part.text))
				}
			}
			if e.Example != "" {
				fmt.Fprint(w, ".PP\nExample:\n")
				pageBlock(w, e.Example)
			}
		}
	}
	fmt.Fprint(w, ".SH SEE ALSO\n.BR imagebuilder (1),\n.BR imagebuilder\\-doc (1)\n")
}

// pageTitle begins a page. It has no date, so that the same source makes the same page.
func pageTitle(w io.Writer, name string, section int, short string) {
	fmt.Fprintf(w, ".TH %s %d \"\" \"imagebuilder %s\" imagebuilder\n.SH NAME\n%s \\- %s\n",
		verbatim(strings.ToUpper(name)), section, version, verbatim(name), prose(short))
}

// pageText prints paragraphs; one whose lines are indented stays as it is.
func pageText(w io.Writer, text string) {
	for i, part := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if strings.HasPrefix(part, " ") || strings.HasPrefix(part, "\t") {
			pageBlock(w, unindented(part))
			continue
		}
		if i > 0 {
			fmt.Fprint(w, ".PP\n")
		}
		fmt.Fprintf(w, "%s\n", prose(part))
	}
}

// pageBlock prints lines as they are.
func pageBlock(w io.Writer, text string) {
	fmt.Fprint(w, ".PP\n.RS 4\n.EX\n")
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, " \n"); line == "" {
			line = `\&`
		}
		fmt.Fprintln(w, guarded(verbatim(line)))
	}
	fmt.Fprint(w, ".EE\n.RE\n")
}

// unindented takes two blanks, or a tab, from the beginning of the lines of a block.
func unindented(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(line, "  "), "\t")
	}
	return strings.Join(lines, "\n")
}

// prose is a text whose lines may be filled.
func prose(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = guarded(strings.ReplaceAll(strings.TrimSpace(line), `\`, `\e`))
	}
	return strings.Join(lines, "\n")
}

// verbatim is a text to be copied from the page: its dashes are those that programs take.
func verbatim(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "\t", "    ").Replace(text)
}

// guarded makes sure that a line is text, not a request.
func guarded(line string) string {
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}
