package pack

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"imagebuilder/builtins/host"
)

// The metadata of images for LXD, and the small archives that all metadata are kept in.

// Metadata is what LXD is told of an image: the content of metadata.yaml, see
// https://documentation.ubuntu.com/lxd/latest/reference/image_format/.
type Metadata struct {
	Architecture string // a name or an alias that LXD knows
	Created      time.Time
	Expires      time.Time
	Properties   map[string]string
	Templates    []Template
}

// A Template is a file that LXD writes into an instance.
type Template struct {
	Path       string            `json:"path"` // in the instance
	Name       string            `json:"name"` // of the file in the metadata archive
	Content    string            `json:"content"`
	When       []string          `json:"when"` // some of Events
	Properties map[string]string `json:"properties"`
}

// Events are those on which LXD and Incus render templates, in the order in which an
// instance meets them.
var Events = []string{"create", "copy", "start", "rename"}

// YAML returns metadata.yaml. Every string is quoted where YAML might take it for
// something else: LXD wants the release 22.04 as text.
func (m Metadata) YAML() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "architecture: %s\ncreation_date: %d\nexpiry_date: %d\n", quote(m.Architecture), max(m.Created.Unix(), 1), m.Expires.Unix())
	writeMap(&b, "", "properties", m.Properties)
	if len(m.Templates) == 0 {
		b.WriteString("templates: {}\n")
		return []byte(b.String())
	}
	b.WriteString("templates:\n")
	for _, t := range m.byPath() {
		fmt.Fprintf(&b, "  %s:\n    when:\n", quote(t.Path))
		for _, when := range t.When {
			fmt.Fprintf(&b, "    - %s\n", quote(when))
		}
		fmt.Fprintf(&b, "    create_only: false\n    template: %s\n", quote(t.Name))
		writeMap(&b, "    ", "properties", t.Properties)
	}
	return []byte(b.String())
}

// byPath returns the templates sorted; of two for one path the later counts.
func (m Metadata) byPath() []Template {
	last := make(map[string]Template)
	for _, t := range m.Templates {
		last[t.Path] = t
	}
	var list []Template
	for _, path := range slices.Sorted(maps.Keys(last)) {
		list = append(list, last[path])
	}
	return list
}

func writeMap(b *strings.Builder, indent, key string, m map[string]string) {
	if len(m) == 0 {
		fmt.Fprintf(b, "%s%s: {}\n", indent, key)
		return
	}
	fmt.Fprintf(b, "%s%s:\n", indent, key)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(b, "%s  %s: %s\n", indent, quote(name), quote(m[name]))
	}
}

// quote writes a YAML scalar: plain where it can only be a string, else in double
// quotes, whose escapes are the same in YAML and Go.
func quote(s string) string {
	plain := s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./", r))
	}) < 0
	if c := (s + " ")[0]; plain && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '/') && !keywords[strings.ToLower(s)] {
		return s
	}
	return strconv.Quote(strings.ToValidUTF8(s, "\uFFFD"))
}

// keywords are the plain scalars that YAML 1.1 takes for booleans or null.
var keywords = map[string]bool{"true": true, "false": true, "yes": true, "no": true, "on": true, "off": true, "y": true, "n": true, "null": true}

// Write makes the metadata archive, in dir under the given name: metadata.yaml and,
// if there are any, the templates.
func (m Metadata) Write(ctx context.Context, dir, name string, c Compression, epoch host.Epoch) error {
	return writeArchive(ctx, filepath.Join(dir, name), m.files(), m.Created, c, epoch)
}

func (m Metadata) files() []archiveFile {
	files := []archiveFile{{"metadata.yaml", m.YAML()}}
	contents := make(map[string][]byte)
	for _, t := range m.Templates {
		contents[t.Name] = []byte(t.Content)
	}
	if len(contents) > 0 {
		files = append(files, archiveFile{"templates/", nil})
	}
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		files = append(files, archiveFile{"templates/" + name, contents[name]})
	}
	return files
}

// archiveFile is a file, or a directory if its name ends in a slash.
type archiveFile struct {
	name    string
	content []byte
}

// writeArchive makes a small tar archive and compresses it.
func writeArchive(ctx context.Context, name string, files []archiveFile, mtime time.Time, c Compression, epoch host.Epoch) (err error) {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := out.Close(); err == nil {
			err = cerr
		}
	}()
	if c.Program() == "" {
		return writeTar(out, files, mtime)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeTar(w, files, mtime)) }()
	defer r.Close()
	if err := (host.Command{Args: c.command(), Stdin: r, Stdout: out}).Run(ctx); err != nil {
		return fmt.Errorf("cannot compress %s: %w", filepath.Base(name), err)
	}
	return c.date(name, epoch)
}

func writeTar(w io.Writer, files []archiveFile, mtime time.Time) error {
	archive := tar.NewWriter(w)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Size: int64(len(f.content)), Mode: 0o644, ModTime: mtime.Truncate(time.Second), Typeflag: tar.TypeReg}
		if strings.HasSuffix(f.name, "/") {
			header.Mode, header.Typeflag = 0o755, tar.TypeDir
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(f.content); err != nil {
			return err
		}
	}
	return archive.Close()
}
