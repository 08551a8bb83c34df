package build

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"imagebuilder/builtins/listing"
	"imagebuilder/builtins/tree"
)

// Answers that a test gives in place of an image or of the network.

// given returns the answer that was given to a question; assumed is of its type.
func (p *Planner) given(s *Step, q AnyQuestion, assumed any) (answer any, ok bool, err error) {
	name := strings.TrimSpace(q.what() + " " + s.Summary())
	v, ok := p.Given[name]
	if !ok {
		return nil, false, nil
	}
	if p.asked == nil {
		p.asked = make(map[string]bool)
	}
	p.asked[name] = true
	answer, ok = answerOf(v, assumed)
	if !ok {
		answer, err = read(q, v)
	}
	if err != nil {
		return nil, false, fmt.Errorf("%s cannot be answered by %v: %w", name, v, err)
	}
	return answer, true, nil
}

// read takes plain data for an answer as it is: a number for a number, a dict for what has fields.
func read(q AnyQuestion, v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	record := json.NewDecoder(bytes.NewReader(text))
	record.DisallowUnknownFields()
	answer, err := q.read(record)
	var bad *json.UnmarshalTypeError
	if errors.As(err, &bad) {
		return nil, fmt.Errorf("got a %s, want a %s", bad.Value, kind(bad.Type))
	}
	return answer, err
}

// kind is what recipes call the values that a type of Go is made of.
func kind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.Map, reflect.Struct, reflect.Pointer:
		return "dict"
	}
	return t.Kind().String()
}

// Unasked returns the names of the answers that were given and that nothing has asked for.
func (p *Planner) Unasked() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(p.Given)), func(name string) bool { return p.asked[name] })
}

// answerOf converts plain data into an answer of the type of another, where a test says less than
// what the answer holds.
func answerOf(v, like any) (answer any, ok bool) {
	switch like.(type) {
	case bool:
		yes, isBool := v.(bool)
		return yes, isBool || v == nil
	case string:
		text, isText := v.(string)
		return text, isText || v == nil
	case tree.Answer:
		return lookAnswer(v)
	case []listing.Link:
		urls, ok := textsOf(v)
		links := make([]listing.Link, len(urls))
		for i, url := range urls {
			links[i] = listing.Link{Name: path.Base(url), URL: url, Groups: []string{path.Base(url)}}
		}
		return links, ok
	}
	return nil, false
}

// lookAnswer is an answer about the files of an image.
func lookAnswer(v any) (answer tree.Answer, ok bool) {
	switch v := v.(type) {
	case nil:
		return tree.Answer{}, true
	case bool:
		return tree.Answer{Found: v}, true
	case string:
		return tree.Answer{Found: true, Data: []byte(v)}, true
	}
	names, ok := textsOf(v)
	return tree.Answer{Found: len(names) > 0, Names: names}, ok
}

func textsOf(v any) ([]string, bool) {
	list, ok := v.([]any)
	var texts []string
	for _, one := range list {
		text, isText := one.(string)
		texts, ok = append(texts, text), ok && isText
	}
	return texts, ok
}
