package build

import (
	"fmt"
	"maps"
	"path"
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
	if answer, ok = answerOf(v, assumed); !ok {
		return nil, false, fmt.Errorf("%s cannot be answered by %v", name, v)
	}
	return answer, true, nil
}

// Unasked returns the names of the answers that were given and that nothing has asked for.
func (p *Planner) Unasked() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(p.Given)), func(name string) bool { return p.asked[name] })
}

// answerOf converts plain data into an answer of the type of another.
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
