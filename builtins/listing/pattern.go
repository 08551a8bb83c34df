package listing

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// Which of the listed names are wanted.

// A Pattern is a regular expression of RE2 for whole names.
type Pattern struct {
	text  string
	whole *regexp.Regexp
	any   *regexp.Regexp // anywhere in a text
}

// ParsePattern reads a pattern.
func ParsePattern(text string) (Pattern, error) {
	any, err := regexp.Compile(text)
	if err != nil {
		return Pattern{}, fmt.Errorf("pattern %q: %w", text, err)
	}
	whole, err := regexp.Compile(`\A(?:` + text + `)\z`)
	if err != nil {
		return Pattern{}, fmt.Errorf("pattern %q: %w", text, err)
	}
	return Pattern{text, whole, any}, nil
}

func (p Pattern) String() string { return p.text }

// Match returns what the groups of a pattern match in a text that it matches as a whole, all
// of it first; nil: it does not.
func (p Pattern) Match(text string) []string { return p.whole.FindStringSubmatch(text) }

// Assumed is the link that stands for what the pattern will find below a URL: its name and
// its groups are the pattern and its parts, in angle brackets, which no URL has.
func (p Pattern) Assumed(base string) Link {
	name := "<" + p.text + ">"
	groups := make([]string, p.any.NumSubexp()+1)
	groups[0] = name
	if re, err := syntax.Parse(p.text, syntax.Perl); err == nil {
		fill(groups, re)
	}
	base, _, _ = strings.Cut(base, "?")
	return Link{Name: name, URL: strings.TrimRight(base, "/") + "/" + name, Groups: groups}
}

// fill writes what each group of an expression is into its place.
func fill(groups []string, re *syntax.Regexp) {
	if re.Op == syntax.OpCapture {
		groups[re.Cap] = "<" + re.Sub[0].String() + ">"
	}
	for _, sub := range re.Sub {
		fill(groups, sub)
	}
}

// A NoneError is a page that lists nothing that is wanted.
type NoneError struct {
	Patterns []Pattern
	Listed   []Link // what it does list
}

func (e *NoneError) Error() string {
	texts := make([]string, len(e.Patterns))
	for i, p := range e.Patterns {
		texts[i] = p.text
	}
	return fmt.Sprintf("nothing there matches %s; %s", strings.Join(texts, " or "), examples(e.Listed))
}

// Select returns what a page lists that the first of the patterns matches which matches
// anything, or a [NoneError].
func (p Page) Select(patterns []Pattern) ([]Link, error) {
	listed := p.Links()
	for _, pattern := range patterns {
		var chosen []Link
		for _, link := range listed {
			if link.Groups = pattern.Match(link.Name); link.Groups != nil {
				chosen = append(chosen, link)
			}
		}
		if chosen != nil {
			return chosen, nil
		}
	}
	return nil, &NoneError{patterns, listed}
}

// maxFound is how many places of a body a pattern is found at, so that one that matches
// anything takes no more memory than others.
const maxFound = 100_000

// Search is Select for all that matches anywhere in the body of the page.
func (p Page) Search(patterns []Pattern) ([]Link, error) {
	body := p.Body
	if p.format() == formatHTML {
		body = p.decoded()
	}
	for _, pattern := range patterns {
		c := collector{base: p.URL, seen: make(map[string]int)}
		for _, groups := range pattern.any.FindAllSubmatch(body, maxFound) {
			before := len(c.links)
			c.addName(string(groups[0]))
			if len(c.links) == before {
				continue
			}
			link := &c.links[before]
			for _, g := range groups {
				link.Groups = append(link.Groups, string(g))
			}
		}
		if c.links != nil {
			return c.links, nil
		}
	}
	return nil, &NoneError{patterns, p.Links()}
}
