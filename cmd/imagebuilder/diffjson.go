package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"imagebuilder/builtins/printable"
	"imagebuilder/builtins/tree"
)

// A diffJSON prints one object. Each difference is a line of it, printed when it is found.
type diffJSON struct {
	w     io.Writer
	begun bool
}

// jsonDifference is a difference for programs.
type jsonDifference struct {
	Path   string     `json:"path"`               // what is not printed as itself escaped, as \n and \xff
	Raw    []byte     `json:"path_raw,omitempty"` // the bytes of a path that has such characters, in base64
	Kinds  []string   `json:"kinds,omitempty"`    // of what both have
	Offset *int64     `json:"offset,omitempty"`   // of the first byte of content that differs
	Old    *jsonEntry `json:"old"`                // null: there is none
	New    *jsonEntry `json:"new"`
}

// jsonEntry is what is at a path.
type jsonEntry struct {
	Type       string            `json:"type"`
	Mode       string            `json:"mode"` // octal
	UID        uint32            `json:"uid"`
	GID        uint32            `json:"gid"`
	Size       *int64            `json:"size,omitempty"` // of a file
	Time       time.Time         `json:"time"`
	Link       string            `json:"link,omitempty"`
	Hard       string            `json:"hard,omitempty"`
	Device     string            `json:"device,omitempty"`
	Attributes map[string][]byte `json:"xattrs,omitempty"` // base64
}

func (j *diffJSON) difference(d tree.Difference) error {
	out := jsonDifference{Path: printable.Line(d.Path), Kinds: d.Kinds, Old: asJSONEntry(d.Old), New: asJSONEntry(d.New)}
	if out.Path != d.Path || !utf8.ValidString(d.Path) {
		out.Raw = []byte(d.Path)
	}
	for _, kind := range d.Kinds {
		if kind == "content" {
			out.Offset = &d.Offset
		}
	}
	before := ",\n    "
	if !j.begun {
		j.begun, before = true, "{\n  \"differences\": [\n    "
	}
	return j.print(before, out)
}

func asJSONEntry(e *tree.Entry) *jsonEntry {
	if e == nil {
		return nil
	}
	out := &jsonEntry{
		Type: e.Type, Mode: fmt.Sprintf("%04o", e.Mode), UID: e.UID, GID: e.GID, Time: e.Time,
		Link: printable.Line(e.Link), Hard: printable.Line(e.Hard), Device: e.Device,
	}
	if e.Type == "file" {
		out.Size = &e.Size
	}
	for name, value := range e.Attributes {
		if out.Attributes == nil {
			out.Attributes = make(map[string][]byte)
		}
		out.Attributes[printable.Line(name)] = []byte(value)
	}
	return out
}

func (j *diffJSON) end(sum diffSum, _ []string) error {
	before := "\n  ],\n"
	if !j.begun {
		before = "{\n  \"differences\": [],\n"
	}
	var text bytes.Buffer
	if err := printJSON(&text, sum); err != nil {
		return err
	}
	_, err := fmt.Fprintf(j.w, "%s%s", before, bytes.TrimPrefix(text.Bytes(), []byte("{\n")))
	return err
}

// print prints a value on one line, behind a text.
func (j *diffJSON) print(before string, v any) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := fmt.Fprintf(j.w, "%s%s", before, bytes.TrimSuffix(line.Bytes(), []byte("\n")))
	return err
}
