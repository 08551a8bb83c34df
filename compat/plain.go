package compat

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Templates see sections of a definition as they would be written back: this file says how.

// plain prints a section of a definition the way templates see it: as it would be
// written back to YAML, without what is empty or false.
func (v *values) plain(value reflect.Value, key string) string {
	switch value.Kind() {
	case reflect.Pointer:
		return v.plain(value.Elem(), key)
	case reflect.Struct:
		var items []string
		for _, name := range fieldNames(value.Type()) {
			field := fieldsOf(value)[name]
			if !field.IsZero() || v.find(join(key, name)) != nil {
				items = append(items, literal(name)+": "+v.plain(field, join(key, name)))
			}
		}
		return bracketed("{", items, "}")
	case reflect.Slice:
		items := make([]string, value.Len())
		for i := range items {
			items[i] = v.plain(value.Index(i), join(key, strconv.Itoa(i)))
		}
		return list(items)
	case reflect.Map:
		m := value.Interface().(map[string]string)
		var items []string
		for _, name := range slices.Sorted(maps.Keys(m)) {
			items = append(items, literal(name)+": "+v.str(join(key, name), m[name], key))
		}
		return bracketed("{", items, "}")
	case reflect.Bool:
		return v.boolean(key, value.Bool())
	case reflect.Uint:
		return v.number(key, value.Uint())
	}
	return v.str(key, strings.ToValidUTF8(value.String(), "\ufffd"), key)
}

// fieldNames returns the keys of a structure in their order.
func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		tag := t.Field(i).Tag.Get("yaml")
		if tag == ",inline" {
			names = append(names, fieldNames(t.Field(i).Type)...)
			continue
		}
		names = append(names, tag)
	}
	return names
}
