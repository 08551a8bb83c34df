package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins"
	"imagebuilder/runtime"
	"imagebuilder/stdlib"
)

// The reference of the words and of the standard library, from what they say themselves.

func newDocCommand() *cobra.Command {
	var format, manual string
	cmd := &cobra.Command{
		Use:   "doc [NAME]...",
		Short: "Show what recipes can use: words, sources, package managers",
		Long: `List the words of recipes, the methods of a rootfs, the fields of values, the generators,
sources and package managers, with their parameters and what they do in a line. Of each
NAME, everything is shown that is said of it, with an example, in which img is an image and
root a rootfs: a word, a method such as root.write or write,
a source, generator or package manager as definitions call it, or a function of the standard
library. Of a file of that, such as @stdlib//sources/debian.star, or of a library that
imagebuilder.mod here names, the text is printed.

Other formats print all that is said of everything: markdown and html to be read, stubs to
be loaded by language servers, schema is the JSON schema of the lines of --log-format json.
With --man, manual pages are written, as an installation has them.`,
		Example: `  imagebuilder doc
  imagebuilder doc download debootstrap root.write
  imagebuilder doc --format html >imagebuilder.html`,
		Args: args(0, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && strings.HasPrefix(args[0], "@stdlib//") {
				return printLibraryFile(cmd.OutOrStdout(), strings.TrimPrefix(args[0], "@stdlib//"))
			}
			if len(args) == 1 && strings.HasPrefix(args[0], "@") {
				text, err := runtime.LibraryText(cmd.Context(), args[0], runtime.Config{Libraries: librariesOf(cmd)})
				if err == nil {
					_, err = io.WriteString(cmd.OutOrStdout(), text)
				}
				return err
			}
			print, ok := docFormats[format]
			if !ok {
				return usageError{fmt.Errorf("--format %s: want one of %s", format, strings.Join(slices.Sorted(maps.Keys(docFormats)), ", "))}
			}
			sections, err := runtime.Reference(cmd.Context())
			if err != nil {
				return err
			}
			switch {
			case manual != "" && (len(args) > 0 || cmd.Flags().Changed("format")):
				return usageError{errors.New("--man writes everything: it takes no names and no --format")}
			case manual != "":
				return writeManual(manual, cmd.Root(), sections)
			case len(args) > 0 && format != "text":
				return usageError{fmt.Errorf("--format %s prints everything: it takes no names", format)}
			case len(args) > 0:
				return showEntries(cmd.OutOrStdout(), sections, args)
			}
			return print(cmd.OutOrStdout(), sections)
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "`format`: text, markdown, html, stubs or schema")
	cmd.Flags().StringVar(&manual, "man", "", "write manual pages of commands and words below the `directory`")
	completeValues(cmd, "format", slices.Sorted(maps.Keys(docFormats)))
	return cmd
}

// docFormats print the whole reference, and what programs read.
var docFormats = map[string]func(io.Writer, []runtime.Section) error{
	"text": listReference, "markdown": referenceMarkdown, "html": referenceHTML, "stubs": referenceStubs,
	"schema": func(w io.Writer, _ []runtime.Section) error { _, err := w.Write(logSchema); return err },
}

// printLibraryFile prints a file of the standard library.
func printLibraryFile(w io.Writer, name string) error {
	text, err := fs.ReadFile(stdlib.FS, name)
	if err != nil {
		var files []string
		fs.WalkDir(stdlib.FS, ".", func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				files = append(files, name)
			}
			return nil
		})
		hint := ""
		if near := builtins.Nearest(name, files); near != "" {
			hint = "; did you mean @stdlib//" + near + "?"
		}
		return usageError{fmt.Errorf("the standard library has no file %s%s", name, hint)}
	}
	_, err = w.Write(text)
	return err
}

// listReference prints the signature of each entry and its first sentence.
func listReference(w io.Writer, sections []runtime.Section) error {
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
	return nil
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
				if _, member, _ := strings.Cut(e.Name, "."); name != e.Name && name != function && name != member {
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
	if load := loadOf(e); load != "" {
		fmt.Fprintf(w, "\n    %s\n", load)
	}
	if e.Example != "" {
		fmt.Fprintf(w, "\n    Example:\n%s\n", indented(e.Example, "      "))
	}
}

// indented is a text with an indentation of its lines, but empty ones.
func indented(text, indent string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = indent + line
		}
	}
	return strings.Join(lines, "\n")
}
