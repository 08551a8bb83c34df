package compat

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Values of a definition in a recipe: literal, shared constant, or option that -o can set.

// A variable is an option of the recipe that stands for a value of the definition.
type variable struct {
	key   string // of the definition, and the option's name
	name  string // in the recipe
	value string // printed default
	help  string
	used  bool
}

// values prints values of a definition: as literals, or as the options that -o sets.
type values struct {
	vars      []*variable
	constants *constants
}

// declare makes the value of a key an option.
func (v *values) declare(key, name, value, help string) {
	if v.find(key) == nil {
		v.vars = append(v.vars, &variable{key: key, name: name, value: value, help: help})
	}
}

func (v *values) find(key string) *variable {
	for _, one := range v.vars {
		if one.key == key {
			return one
		}
	}
	return nil
}

// option prints the name of the option for a key, if there is one.
func (v *values) option(key string) (string, bool) {
	one := v.find(key)
	if one == nil {
		return "", false
	}
	one.used = true
	return one.name, true
}

// str prints a string; one of several lines becomes a constant, called by words.
func (v *values) str(key, value, words string) string {
	if name, ok := v.option(key); ok {
		return name
	}
	if isLong(value) && v.constants != nil { // there are none yet when options are declared
		return v.constants.name(value, words, key)
	}
	return literal(value)
}

func (v *values) boolean(key string, value bool) string {
	if name, ok := v.option(key); ok {
		return name
	}
	if value {
		return "True"
	}
	return "False"
}

func (v *values) number(key string, value uint64) string {
	if name, ok := v.option(key); ok {
		return name
	}
	return fmt.Sprint(value)
}

// strs prints a list of strings.
func (v *values) strs(key string, list []string, words string) []string {
	items := make([]string, len(list))
	for i, s := range list {
		items[i] = v.str(fmt.Sprintf("%s.%d", key, i), s, words)
	}
	return items
}

// dict prints a map of strings.
func (v *values) dict(key string, m map[string]string, words string) string {
	var items []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		items = append(items, literal(name)+": "+v.str(join(key, name), m[name], words))
	}
	return bracketed("{", items, "}")
}

// among prints the condition that a value is one of a list.
func (v *values) among(value, key string, list []string) string {
	items := v.strs(key, list, "")
	if len(items) == 1 {
		return value + " == " + items[0]
	}
	return value + " in [" + strings.Join(items, ", ") + "]"
}

// roots are the sections of a definition that templates may name, besides image.
var roots = []string{"source", "targets", "files", "packages", "actions", "mappings", "environment", "simplestream"}

var tags = regexp.MustCompile(`(?s)\{\{.*?\}\}|\{%.*?%\}`)

// words are the roots as words.
var words = func() map[string]*regexp.Regexp {
	m := make(map[string]*regexp.Regexp)
	for _, root := range roots {
		m[root] = regexp.MustCompile(`\b` + root + `\b`)
	}
	return m
}()

// rootsIn returns the sections that texts name within template tags.
func rootsIn(texts ...string) []string {
	var found []string
	for _, root := range roots {
		if slices.ContainsFunc(texts, func(text string) bool {
			return slices.ContainsFunc(tags.FindAllString(text, -1), words[root].MatchString)
		}) {
			found = append(found, root)
		}
	}
	return found
}

// textsIn returns all strings within a value.
func textsIn(v reflect.Value) []string {
	var texts []string
	switch v.Kind() {
	case reflect.String:
		return []string{v.String()}
	case reflect.Pointer:
		if !v.IsNil() {
			return textsIn(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			texts = append(texts, textsIn(v.Field(i))...)
		}
	case reflect.Slice:
		for i := range v.Len() {
			texts = append(texts, textsIn(v.Index(i))...)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			texts = append(texts, textsIn(v.MapIndex(key))...)
		}
	}
	return texts
}
