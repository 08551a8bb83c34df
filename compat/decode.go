package compat

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"imagebuilder/builtins/problems"
	"imagebuilder/builtins/yamlmap"
)

// Reads YAML into a definition by its own walk, since errors must name line and key, and
// all of them at once.

// A source remembers where each value of a definition stands.
type source struct {
	file  string
	lines map[string]int    // by key, such as "files.3.path"
	notes map[string]string // the comment above a key or an element, by the same
}

// A definitionError is something wrong with a definition.
type definitionError struct {
	File string
	Line int    // 0: nowhere in particular
	Key  string // "" for the whole
	Err  error
}

func (e *definitionError) Error() string {
	place := e.File
	if e.Line > 0 {
		place += ":" + strconv.Itoa(e.Line)
	}
	if e.Key != "" {
		place += ": " + e.Key
	}
	return place + ": " + e.Err.Error()
}

func (e *definitionError) Unwrap() error { return e.Err }

// at makes an error about a key, at its line or that of the nearest key above it.
func (s *source) at(key string, err error) error {
	e := &definitionError{File: s.file, Key: key, Err: err}
	for k := key; ; k = k[:max(0, strings.LastIndexByte(k, '.'))] {
		if line, ok := s.lines[k]; ok || k == "" {
			e.Line = line
			return e
		}
	}
}

// parse reads the first document of a definition.
func parse(r io.Reader, file string) (*yaml.Node, *source, error) {
	s := &source{file: file, lines: make(map[string]int), notes: make(map[string]string)}
	var doc yaml.Node
	err := yaml.NewDecoder(r).Decode(&doc)
	switch {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		return &yaml.Node{Kind: yaml.MappingNode}, s, nil
	case err != nil:
		return nil, nil, yamlError(file, err)
	}
	return doc.Content[0], s, nil
}

// yamlError turns "yaml: line 3: text" into an error of ours.
func yamlError(file string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if number, message, ok := strings.Cut(rest, ": "); ok {
			if line, err := strconv.Atoi(number); err == nil {
				return &definitionError{File: file, Line: line, Err: errors.New(message)}
			}
		}
	}
	return &definitionError{File: file, Err: errors.New(text)}
}

// A decoder fills structures from nodes. Unlike those of packages it keeps the source
// text of scalars, and finds all errors.
type decoder struct {
	*source
	errs   []error
	values int // that were seen
}

// maxValues is far more than any definition has, and what little text can make of
// itself by aliases.
const maxValues = 200_000

// decode reads a whole definition.
func (s *source) decode(node *yaml.Node) (*definition, error) {
	d := &decoder{source: s}
	def := new(definition)
	d.value(node, reflect.ValueOf(def).Elem(), "")
	return def, problems.Join(d.errs...)
}

func (d *decoder) fail(node *yaml.Node, key, format string, args ...any) {
	d.errs = append(d.errs, &definitionError{File: d.file, Line: node.Line, Key: key, Err: fmt.Errorf(format, args...)})
}

// value decodes a node into v.
func (d *decoder) value(node *yaml.Node, v reflect.Value, key string) {
	node = yamlmap.Resolve(node)
	if d.values++; d.values > maxValues {
		if d.values == maxValues+1 {
			d.fail(node, key, "there are more than %d values in all: do aliases repeat too much?", maxValues)
		}
		return
	}
	if node.Line > 0 {
		d.lines[key] = node.Line
	}
	if yamlmap.IsNull(node) {
		return // the zero value
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(node, v.Elem(), key)
	case reflect.Struct:
		d.mapping(node, v, key)
	case reflect.Slice:
		d.sequence(node, v, key)
	case reflect.Map:
		d.stringMap(node, v, key)
	default:
		d.scalar(node, v, key)
	}
}

// kinds are what YAML calls the shapes of nodes.
var kinds = map[yaml.Kind]string{yaml.MappingNode: "mapping", yaml.SequenceNode: "list", yaml.ScalarNode: "scalar"}

func (d *decoder) is(node *yaml.Node, kind yaml.Kind, key string) bool {
	if node.Kind != kind {
		d.fail(node, key, "got a %s, want a %s", kinds[node.Kind], kinds[kind])
	}
	return node.Kind == kind
}

func (d *decoder) mapping(node *yaml.Node, v reflect.Value, key string) {
	if !d.is(node, yaml.MappingNode, key) {
		return
	}
	fields := fieldsOf(v)
	for _, entry := range d.entries(node, key) {
		at := join(key, entry.Name)
		field, ok := fields[entry.Name]
		if !ok {
			d.fail(entry.Key, at, "there is no such key%s", didYouMean(entry.Name, slices.Sorted(maps.Keys(fields))))
			continue
		}
		d.note(entry.Key, at)
		d.value(entry.Value, field, at)
	}
}

// fieldsOf returns the fields of a structure by their keys, with those of embedded ones.
func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := make(map[string]reflect.Value)
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag.Get("yaml")
		if tag == ",inline" {
			maps.Copy(fields, fieldsOf(v.Field(i)))
			continue
		}
		fields[tag] = v.Field(i)
	}
	return fields
}

// entries returns what a mapping holds; what it says itself wins over what it merges.
func (d *decoder) entries(node *yaml.Node, key string) []yamlmap.Pair {
	pairs, flaws := yamlmap.Pairs(node)
	for _, f := range flaws {
		at := key
		if f.Name != "" {
			at = join(key, f.Name)
		}
		d.fail(f.Node, at, "%w", f.Err)
	}
	return pairs
}

func (d *decoder) sequence(node *yaml.Node, v reflect.Value, key string) {
	if !d.is(node, yaml.SequenceNode, key) {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(node.Content), len(node.Content)))
	for i, item := range node.Content {
		at := join(key, strconv.Itoa(i))
		d.note(item, at)
		d.value(item, v.Index(i), at)
	}
}

// note keeps the comment above a node.
func (d *decoder) note(node *yaml.Node, key string) {
	if node.HeadComment != "" {
		d.notes[key] = node.HeadComment
	}
}

func (d *decoder) stringMap(node *yaml.Node, v reflect.Value, key string) {
	if !d.is(node, yaml.MappingNode, key) {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, entry := range d.entries(node, key) {
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(entry.Value, value, join(key, entry.Name))
		v.SetMapIndex(reflect.ValueOf(entry.Name), value)
	}
}

func (d *decoder) scalar(node *yaml.Node, v reflect.Value, key string) {
	if !d.is(node, yaml.ScalarNode, key) {
		return
	}
	switch v.Kind() {
	case reflect.String:
		text, err := stringOf(node)
		if err == nil && !utf8.ValidString(text) && !mayBeBytes.MatchString(key) {
			err = errors.New("it is not text: only the content of a file can be other bytes")
		}
		if err != nil {
			d.fail(node, key, "%w", err)
		}
		v.SetString(text)
	case reflect.Bool:
		b, ok := boolean(node)
		if !ok {
			d.fail(node, key, "%q is not a boolean such as true or false", node.Value)
		}
		v.SetBool(b)
	case reflect.Uint:
		n, ok := unsigned(node)
		if !ok {
			d.fail(node, key, "%q is not a whole number from 0 on", node.Value)
		}
		v.SetUint(n)
	default:
		panic("internal error: definitions have no values of kind " + v.Kind().String())
	}
}

// mayBeBytes matches the keys whose values need not be text.
var mayBeBytes = regexp.MustCompile(`^files\.\d+\.content$`)

// stringOf returns what a scalar means where text is wanted: what is written, but for binary
// data, which is written in base64.
func stringOf(node *yaml.Node) (string, error) {
	if node.ShortTag() != "!!binary" {
		return node.Value, nil
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(node.Value), ""))
	if err != nil {
		return "", errors.New("it is tagged as binary and not in base64")
	}
	return string(data), nil
}

// boolean reads one of YAML 1.1.
func boolean(node *yaml.Node) (value, ok bool) {
	text, lower := node.Value, strings.ToLower(node.Value)
	if quoted(node) || text != lower && text != strings.ToUpper(text) && text != strings.ToUpper(text[:1])+lower[1:] {
		return false, false
	}
	switch lower {
	case "y", "yes", "on", "true":
		return true, true
	case "n", "no", "off", "false":
		return false, true
	}
	return false, false
}

// quoted tells a scalar that was written as text. One that -o sets has no style.
func quoted(node *yaml.Node) bool {
	return node.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

// unsigned reads a number that is whole however it is written: 5, 0x5, 5.0.
func unsigned(node *yaml.Node) (uint64, bool) {
	var f float64
	if quoted(node) || node.ShortTag() != "!!int" && node.ShortTag() != "!!float" || node.Decode(&f) != nil {
		return 0, false
	}
	return uint64(f), f >= 0 && f == math.Trunc(f) && f < 1<<53
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}
