package streams

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/streams/inventory"
)

// The forms of a list of images, for people and for programs. They stand apart from List
// since they know nothing of a site.

// listFormats are the forms in which WriteImages can write.
var listFormats = map[string]func(io.Writer, []ListedImage) error{
	"csv":   writeCSV,
	"json":  writeJSON,
	"table": writeTable,
	"yaml":  writeYAML,
}

// ListFormats returns the names of the formats of WriteImages, sorted.
func ListFormats() []string {
	var names []string
	for name := range inventory.Sorted(listFormats) {
		names = append(names, name)
	}
	return names
}

// WriteImages writes a list of images as csv, json, table or yaml.
func WriteImages(w io.Writer, format string, images []ListedImage) error {
	write, ok := listFormats[format]
	if !ok {
		return fmt.Errorf("unknown format %q: it is one of %s", format, strings.Join(ListFormats(), ", "))
	}
	return write(w, images)
}

func writeTable(w io.Writer, images []ListedImage) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FINGERPRINT\tOS\tRELEASE\tVARIANT\tARCHITECTURE\tTYPE\tCREATED\tSIZE\tCLIENTS")
	for _, i := range images {
		clients := strings.Join(i.Clients, ",")
		if i.PassedOver != "" {
			clients = "none: " + plain(i.PassedOver)
		}
		fmt.Fprintf(t, "%.12s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.Fingerprint, plain(i.OS), plain(i.Release), plain(i.Variant),
			plain(i.Architecture), i.Type, i.created("2006-01-02 15:04"), bytesize.Size(i.Size), clients)
	}
	return t.Flush()
}

// plain replaces what could move the cursor or colour the screen: the text is from
// files that others wrote.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

func (i ListedImage) created(layout string) string {
	if i.Created.IsZero() {
		return ""
	}
	return i.Created.Format(layout)
}

func writeCSV(w io.Writer, images []ListedImage) error {
	out := csv.NewWriter(w)
	rows := [][]string{{
		"fingerprint", "description", "os", "release", "variant", "architecture", "type", "created", "size",
		"stream", "product", "version", "aliases", "clients", "path", "passed_over",
	}}
	for _, i := range images {
		rows = append(rows, []string{
			i.Fingerprint, i.Description, i.OS, i.Release, i.Variant, i.Architecture, i.Type, i.created(time.RFC3339), fmt.Sprint(i.Size),
			i.Stream, i.Product, i.Version, strings.Join(i.Aliases, ","), strings.Join(i.Clients, ","), i.Path, i.PassedOver,
		})
	}
	return out.WriteAll(rows)
}

func writeJSON(w io.Writer, images []ListedImage) error {
	if images == nil {
		images = []ListedImage{}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(images)
}

func writeYAML(w io.Writer, images []ListedImage) error {
	if images == nil {
		images = []ListedImage{}
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(images); err != nil {
		return err
	}
	return enc.Close()
}
