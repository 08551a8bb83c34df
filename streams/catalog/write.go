package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// An Encoder writes a catalog one product at a time, in one line without blanks. The
// products must come sorted by id.
type Encoder struct {
	w     io.Writer
	count int
	err   error
}

// NewWriter starts the catalog of a stream.
func NewEncoder(w io.Writer, stream string) *Encoder {
	out := &Encoder{w: w}
	out.print(`{"content_id":%s,"format":%q,"datatype":%q,"products":{`, quote(stream), FormatProducts, Datatype)
	return out
}

// Product adds a product.
func (w *Encoder) Product(id string, p *Product) error {
	if p.Requirements == nil {
		p.Requirements = map[string]string{} // clients expect an object
	}
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("internal error: product %s: %w", id, err)
	}
	if w.count++; w.count > 1 {
		w.print(",")
	}
	w.print("%s:%s", quote(id), data)
	return w.err
}

// Close ends the catalog. It does not close the writer below.
func (w *Encoder) Close() error {
	w.print("}}\n")
	return w.err
}

func (w *Encoder) print(format string, args ...any) {
	if w.err == nil {
		_, w.err = fmt.Fprintf(w.w, format, args...)
	}
}

func quote(s string) []byte {
	data, _ := json.Marshal(s) // a string cannot fail
	return data
}

// Write writes an index in one line.
func (x *Index) Write(w io.Writer) error {
	for name, entry := range x.Entries {
		if entry.Products == nil {
			entry.Products = []string{} // clients expect a list
			x.Entries[name] = entry
		}
	}
	return json.NewEncoder(w).Encode(x)
}

// Lines returns a catalog or an index as it is signed: in short lines, since programs that
// check the signature of a text cut long ones off.
func Lines(data []byte) ([]byte, error) {
	var out bytes.Buffer
	if err := json.Indent(&out, data, "", " "); err != nil {
		return nil, err
	}
	// The one character that ends a line for some of them and stands in JSON as it is.
	return bytes.ReplaceAll(out.Bytes(), []byte("\u0085"), []byte(`\u0085`)), nil
}

// Signed returns the index of the catalogs that have their signature in them, whose paths
// renamed returns.
func (x *Index) Signed(renamed func(path string) string) *Index {
	signed := &Index{Format: x.Format, Entries: make(map[string]IndexEntry, len(x.Entries))}
	for name, entry := range x.Entries {
		entry.Path = renamed(entry.Path)
		signed.Entries[name] = entry
	}
	return signed
}
