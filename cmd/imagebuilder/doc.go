package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins"
	"imagebuilder/runtime"
)

// The reference of the words and of the standard library, from what they say themselves.

func newDocCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doc [NAME]...",
		Short: "Show what recipes can use: words, sources, package managers",
		Long: `List the words of recipes, the methods of a rootfs, the generators, sources and package
managers, with their parameters and what they do in a line. Of each NAME, everything is
shown that is said of it: a word, a method such as root.write or write, a source, generator or package
manager as definitions call it, or a function of the standard library.`,
		Example: `  imagebuilder doc
  imagebuilder doc download debootstrap root.write`,
		Args: args(0, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			sections, err := runtime.Reference(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				listReference(cmd.OutOrStdout(), sections)
				return nil
			}
			return showEntries(cmd.OutOrStdout(), sections, args)
		},
	}
}

// listReference prints the signature of each entry and its first sentence.
func listReference(w io.Writer, sections []runtime.Section) {
	for i, s := range sections {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s:\n", s.Title)
		for _, e := range s.Entries {
			from := ""
			if e.File != "" {
				from = "  # @stdlib//" + e.File
			}
			fmt.Fprintf(w, "\n  %s%s\n      %s\n", signature(e), from, inBrief(e))
		}
	}
}

// signature is that of an entry, and the name that it has in definitions if that is another.
func signature(e runtime.Entry) string {
	if function, _, _ := strings.Cut(e.Signature, "("); function != e.Name {
		return e.Name + ": " + e.Signature
	}
	return e.Signature
}

// inBrief is what an entry says up to its first stop or empty line.
func inBrief(e runtime.Entry) string {
	text, _, _ := strings.Cut(e.Text, "\n\n")
	text = strings.Join(strings.Fields(text), " ")
	if first, _, more := strings.Cut(text, ". "); more {
		text = first + "."
	}
	switch {
	case text == "":
		return "Not there yet."
	case e.File == "": // the comments of Go go on behind the signature
		return strings.ToUpper(text[:1]) + text[1:]
	}
	return text
}

// showEntries prints all that is said of what has one of the names.
func showEntries(w io.Writer, sections []runtime.Section, names []string) error {
	var known []string
	for i, name := range names {
		found := false
		for _, s := range sections {
			for _, e := range s.Entries {
				function, _, _ := strings.Cut(e.Signature, "(")
				known = append(known, e.Name, function)
				if name != e.Name && name != function && "root."+name != e.Name {
					continue
				}
				if i > 0 || found {
					fmt.Fprintln(w)
				}
				found = true
				showEntry(w, e)
			}
		}
		if !found {
			hint := "'imagebuilder doc' lists all that there is"
			if near := builtins.Nearest(name, known); near != "" {
				hint = "did you mean " + near + "?"
			}
			return usageError{fmt.Errorf("nothing is known of %q; %s", name, hint)}
		}
	}
	return nil
}

func showEntry(w io.Writer, e runtime.Entry) {
	fmt.Fprintf(w, "%s\n", signature(e))
	for line := range strings.Lines(e.Text + "\n") {
		if line = strings.TrimRight(line, " \n"); line != "" {
			line = "    " + line
		}
		fmt.Fprintln(w, line)
	}
	if e.File != "" {
		function, _, called := strings.Cut(e.Signature, "(")
		if called || !strings.ContainsAny(function, "-") {
			fmt.Fprintf(w, "\n    load(\"@stdlib//%s\", \"%s\")\n", e.File, function)
		}
	}
}
