package compat

import (
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"imagebuilder/builtins"
	"imagebuilder/builtins/yamlmap"
	"imagebuilder/runtime"
)

// -o key=value, applied to the YAML before it is read, so that the same rules hold.

// An Override is one -o KEY=VALUE.
type Override struct{ Key, Value string }

// ParseOverrides splits the values of -o flags. An override begins where a key does: so
// "a.b=1,c.d=2" are two, and in "image.description=a, b=c" the comma is text.
func ParseOverrides(flags []string) ([]Override, error) {
	var all []Override
	for _, flag := range flags {
		for _, item := range splitOverrides(flag) {
			key, value, ok := strings.Cut(item, "=")
			if !ok || key == "" {
				return nil, runtime.Misspelt{Err: fmt.Errorf("-o %s: want key=value", flag)}
			}
			if !utf8.ValidString(item) {
				return nil, runtime.Misspelt{Err: fmt.Errorf("-o %q: not UTF-8", item)}
			}
			all = append(all, Override{key, value})
		}
	}
	return all, nil
}

// quotedOverrides splits a flag that is a record of CSV with quotes, which used to be the
// way to have commas in a value.
func quotedOverrides(flag string) ([]string, bool) {
	if !strings.HasPrefix(flag, `"`) && !strings.Contains(flag, `,"`) {
		return nil, false
	}
	r := csv.NewReader(strings.NewReader(flag))
	items, err := r.Read()
	if err != nil || r.InputOffset() < int64(len(flag)) {
		return nil, false
	}
	for _, item := range items {
		if key, _, ok := strings.Cut(item, "="); !ok || !isKey(key) {
			return nil, false
		}
	}
	return items, true
}

func splitOverrides(flag string) []string {
	if flag == "" { // as scripts have it where there is nothing to override
		return nil
	}
	if items, ok := quotedOverrides(flag); ok {
		return items
	}
	items := []string{""}
	for i, part := range strings.Split(flag, ",") {
		if key, _, ok := strings.Cut(part, "="); i > 0 && !(ok && isKey(key)) {
			items[len(items)-1] += "," + part
			continue
		}
		if i > 0 {
			items = append(items, "")
		}
		items[len(items)-1] = part
	}
	return items
}

// isKey tells a text that names a key of a definition.
func isKey(text string) bool {
	section, rest, ok := strings.Cut(text, ".")
	_, known := fieldsOf(reflect.ValueOf(new(definition)).Elem())[section]
	return ok && known && rest != "" && !strings.ContainsAny(rest, " \t")
}

// override sets one scalar in the tree of a definition.
func override(root *yaml.Node, o Override) error {
	if full := fullKey(o.Key); full != "" {
		return runtime.Misspelt{Err: fmt.Errorf("-o %s: there is no key %s; did you mean %s?", o.Key, o.Key, full)}
	}
	if err := set(root, reflect.TypeFor[definition](), strings.Split(o.Key, "."), o.Value); err != nil {
		return runtime.Misspelt{Err: fmt.Errorf("-o %s: %w", o.Key, err)}
	}
	return nil
}

// fullKey returns the key of a definition that a name without a section means, as release means
// image.release; "": it means none.
func fullKey(name string) string {
	sections := fieldsOf(reflect.ValueOf(new(definition)).Elem())
	if _, ok := sections[name]; ok || strings.Contains(name, ".") {
		return ""
	}
	for _, section := range append([]string{"image"}, slices.Sorted(maps.Keys(sections))...) {
		if v := sections[section]; v.Kind() == reflect.Struct {
			if _, ok := fieldsOf(v)[name]; ok {
				return section + "." + name
			}
		}
	}
	return ""
}

// set walks down the keys along the type of a definition, and makes what is missing.
func set(node *yaml.Node, t reflect.Type, keys []string, value string) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	detach(node)
	if len(keys) == 0 {
		return setScalar(node, t, value)
	}
	switch t.Kind() {
	case reflect.Struct:
		fields := fieldsOf(reflect.New(t).Elem())
		field, ok := fields[keys[0]]
		if !ok {
			return fmt.Errorf("there is no key %s%s", keys[0], didYouMean(keys[0], slices.Sorted(maps.Keys(fields))))
		}
		return set(child(node, keys[0]), field.Type(), keys[1:], value)
	case reflect.Map:
		if keys[0] == "" {
			return errors.New("the name of the entry is empty")
		}
		return set(child(node, strings.Join(keys, ".")), t.Elem(), nil, value)
	case reflect.Slice:
		i, err := strconv.Atoi(keys[0])
		if err != nil {
			return fmt.Errorf("%q is not the number of an element", keys[0])
		}
		if node.Kind != yaml.SequenceNode || i < 0 || i >= len(node.Content) {
			return fmt.Errorf("there is no element %d: the list has %d, numbered from 0", i, len(node.Content))
		}
		return set(node.Content[i], t.Elem(), keys[1:], value)
	}
	return fmt.Errorf("there is nothing below a scalar: %s", strings.Join(keys, "."))
}

func setScalar(node *yaml.Node, t reflect.Type, value string) error {
	scalar := yaml.Node{Kind: yaml.ScalarNode, Value: value, Line: node.Line}
	switch t.Kind() {
	case reflect.Slice:
		return errors.New("it is a list: name an element, such as .0")
	case reflect.Struct, reflect.Map:
		return errors.New("it is a mapping: name a key of it")
	case reflect.String:
		scalar.Tag = "!!str"
	case reflect.Bool:
		b, err := strconv.ParseBool(value)
		if yes, ok := boolean(&scalar); err != nil && ok {
			b, err = yes, nil
		}
		if err != nil {
			return fmt.Errorf("%q is not a boolean such as true or false", value)
		}
		scalar.Value = strconv.FormatBool(b)
	case reflect.Uint:
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is not a whole number from 0 on", value)
		}
		scalar.Value = strconv.FormatUint(n, 10)
	}
	*node = scalar
	return nil
}

// separate gives all aliases of a node one copy of it, so that what changes the node
// does not change them.
func separate(root *yaml.Node) {
	copies := make(map[*yaml.Node]*yaml.Node)
	var walk func(node *yaml.Node)
	walk = func(node *yaml.Node) {
		if node.Kind == yaml.AliasNode {
			one, ok := copies[node.Alias]
			if !ok {
				one = clone(node.Alias)
				copies[node.Alias] = one
				walk(one)
			}
			node.Alias = one
		}
		for _, below := range node.Content {
			walk(below)
		}
	}
	walk(root)
}

// detach makes an alias, or null, a node of its own that can be changed.
func detach(node *yaml.Node) {
	for node.Kind == yaml.AliasNode {
		*node = *clone(node.Alias)
	}
	if yamlmap.IsNull(node) {
		*node = yaml.Node{Line: node.Line}
	}
}

func clone(node *yaml.Node) *yaml.Node {
	c := *node
	c.Anchor, c.Content = "", nil
	for _, one := range node.Content {
		c.Content = append(c.Content, clone(one))
	}
	return &c
}

// child returns the value of a key of a mapping, made if needed. One that is merged in
// becomes the mapping's own.
func child(node *yaml.Node, key string) *yaml.Node {
	if node.Kind == 0 {
		node.Kind = yaml.MappingNode
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return node.Content[i+1]
		}
	}
	value := &yaml.Node{Line: node.Line}
	d := decoder{source: new(source)}
	for _, e := range d.entries(node, "") {
		if e.Name == key {
			value = clone(e.Value)
		}
	}
	node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key, Line: node.Line}, value)
	return value
}

func didYouMean(name string, names []string) string {
	if near := builtins.Nearest(name, names); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return ""
}
