package main

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/printable"
	"imagebuilder/builtins/tree"
)

// How differences are told, while they are found: to people, and in diffjson.go to programs.

// A diffReport tells differences, and then what they come to.
type diffReport interface {
	difference(tree.Difference) error
	end(sum diffSum, names []string) error
}

// A diffSum is what two images come to.
type diffSum struct {
	Equal    bool           `json:"equal"`
	Repacked bool           `json:"repacked,omitempty"` // equal, but not the same bytes
	Old      tree.Totals    `json:"old"`
	New      tree.Totals    `json:"new"`
	Packages packageChanges `json:"packages"`
}

func (o *diffOptions) report(w io.Writer) diffReport {
	if o.build.json {
		return &diffJSON{w: w}
	}
	return &diffText{w: w, kinds: make(map[string]int)}
}

// A diffText prints a line for each difference. Of a directory that only one side has it
// prints one line.
type diffText struct {
	w    io.Writer
	held *heldDirectory

	added, removed, changed int

	kinds map[string]int // how many paths differ in each
}

// A heldDirectory is a directory of one side, all of which has not been seen yet.
type heldDirectory struct {
	verb, path string
	files      int
	size       int64
}

func (t *diffText) difference(d tree.Difference) error {
	if d.Old != nil && d.New != nil {
		t.changed++
		for _, kind := range d.Kinds {
			t.kinds[kind]++
		}
		if err := t.release(); err != nil {
			return err
		}
		return t.line("changed", d.Path, strings.Join(changes(d), "; "))
	}
	verb, e := "added", d.New
	if d.New == nil {
		verb, e = "removed", d.Old
		t.removed++
	} else {
		t.added++
	}
	if h := t.held; h != nil && h.verb == verb && strings.HasPrefix(d.Path, h.path+"/") {
		h.files++
		h.size += e.Size
		return nil
	}
	if err := t.release(); err != nil {
		return err
	}
	if e.Type == "directory" {
		t.held = &heldDirectory{verb: verb, path: strings.TrimSuffix(d.Path, "/")}
		return nil
	}
	return t.line(verb, d.Path, describe(e))
}

// release prints the directory that was held back.
func (t *diffText) release() error {
	h := t.held
	if t.held = nil; h == nil {
		return nil
	}
	what := "empty directory"
	if h.files > 0 {
		what = fmt.Sprintf("directory with %d files, %v", h.files, bytesize.Size(h.size))
	}
	return t.line(h.verb, h.path+"/", what)
}

func (t *diffText) line(verb, path, what string) error {
	_, err := fmt.Fprintf(t.w, "%-8s %s: %s\n", verb, printable.Line(path), what)
	return err
}

func (t *diffText) end(sum diffSum, names []string) error {
	if err := t.release(); err != nil {
		return err
	}
	var out strings.Builder
	if !sum.Packages.none() {
		fmt.Fprintln(&out, "\nPackages:")
		for _, p := range sum.Packages.Changed {
			fmt.Fprintf(&out, "changed  %s: %s -> %s%s\n", printable.Line(p.Name), printable.Line(p.Old), printable.Line(p.New), growth(p.OldSize, p.NewSize))
		}
		for _, p := range sum.Packages.Added {
			fmt.Fprintf(&out, "added    %s: %s%s\n", printable.Line(p.Name), printable.Line(p.New), growth(0, p.NewSize))
		}
		for _, p := range sum.Packages.Removed {
			fmt.Fprintf(&out, "removed  %s: %s%s\n", printable.Line(p.Name), printable.Line(p.Old), growth(p.OldSize, 0))
		}
	}
	if t.changed+t.added+t.removed > 0 {
		fmt.Fprintf(&out, "\n%d changed%s, %d added, %d removed; %v in %d files -> %v in %d files%s\n", t.changed, t.byKind(), t.added, t.removed,
			bytesize.Size(sum.Old.Size), sum.Old.Files, bytesize.Size(sum.New.Size), sum.New.Files, growth(sum.Old.Size, sum.New.Size))
	}
	switch {
	case sum.Repacked:
		fmt.Fprintln(&out, "The images hold the same, but are not the same bytes: they were packed in another way, such as order, padding or compression.")
	case !sum.Equal && host.Installed("diffoscope") && !slices.ContainsFunc(names, isKey):
		fmt.Fprintln(&out, "To see how the content differs:", printable.Line(host.Quote(append([]string{"diffoscope", "--"}, names...))))
	}
	_, err := io.WriteString(t.w, out.String())
	return err
}

// byKind says how many of the paths that have changed differ in what.
func (t *diffText) byKind() string {
	var list []string
	for _, kind := range tree.Kinds {
		if n := t.kinds[kind]; n > 0 {
			list = append(list, fmt.Sprintf("%s %d", kind, n))
		}
	}
	if list == nil {
		return ""
	}
	return " (" + strings.Join(list, ", ") + ")"
}

// growth says by how much a size has grown, if it has.
func growth(old, new int64) string {
	switch {
	case new > old:
		return fmt.Sprintf(" (+%v)", bytesize.Size(new-old))
	case new < old:
		return fmt.Sprintf(" (-%v)", bytesize.Size(old-new))
	}
	return ""
}

// describe says what an entry is.
func describe(e *tree.Entry) string {
	switch {
	case e.Hard != "":
		return "another name of " + printable.Line(e.Hard)
	case e.Type == "file":
		return fmt.Sprintf("file of %v", bytesize.Size(e.Size))
	case e.Type == "link":
		return "link to " + printable.Line(e.Link)
	case e.Device != "":
		return e.Type + " device " + e.Device
	}
	return e.Type
}

// changes say in what a path differs, each kind by itself.
func changes(d tree.Difference) []string {
	old, new := d.Old, d.New
	var list []string
	for _, kind := range d.Kinds {
		was, is := shownAs(kind, old), shownAs(kind, new)
		switch kind {
		case "content":
			list = append(list, fmt.Sprintf("content from byte %d", d.Offset))
		case "xattr":
			list = append(list, attributeChanges(old.Attributes, new.Attributes)...)
		case "type":
			list = append(list, fmt.Sprintf("%s -> %s", was, is))
		default:
			list = append(list, fmt.Sprintf("%s %s -> %s", kind, was, is))
		}
	}
	return list
}

// shownAs is what one kind of difference looks like at an entry.
func shownAs(kind string, e *tree.Entry) string {
	switch kind {
	case "type":
		return describe(e)
	case "owner":
		return fmt.Sprintf("%d:%d", e.UID, e.GID)
	case "mode":
		return fmt.Sprintf("%04o", e.Mode)
	case "size":
		return fmt.Sprint(e.Size)
	case "time":
		return e.Time.Format(time.RFC3339Nano)
	case "link":
		if e.Type == "link" {
			return printable.Line(e.Link)
		}
		return "hard " + printable.Line(cmp.Or(e.Hard, "none"))
	case "device":
		return e.Device
	}
	return ""
}

// attributeChanges say which extended attributes differ.
func attributeChanges(old, new map[string]string) []string {
	all := maps.Clone(new)
	if all == nil {
		all = make(map[string]string)
	}
	maps.Copy(all, old)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		was, had := old[name]
		is, has := new[name]
		if had != has || was != is {
			list = append(list, fmt.Sprintf("%s %s -> %s", printable.Line(name), attributeValue(was, had), attributeValue(is, has)))
		}
	}
	return list
}

// attributeValue is a value as people read it: text, or hexadecimal digits.
func attributeValue(value string, is bool) string {
	const longest = 64
	var text string
	switch {
	case !is:
		return "none"
	case !utf8.ValidString(value) || strings.ContainsFunc(strings.TrimSuffix(value, "\x00"), unicode.IsControl):
		text = "0x" + hex.EncodeToString([]byte(value))
	default:
		text = printable.Line(strings.TrimSuffix(value, "\x00"))
	}
	if len(text) > longest {
		text = text[:longest] + "…"
	}
	return text
}
