package builtins

import (
	"fmt"
	"slices"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/listing"
)

// What is to be found on servers: the words that ask, and the value that links are. What a
// link means, and how it looks on a page, is in package listing.

// A link is what links finds. Its attributes are name, url and groups.
type link struct{ listing.Link }

var (
	_ starlark.HasAttrs   = (*link)(nil)
	_ starlark.Comparable = (*link)(nil)
)

func (l *link) String() string        { return "<link " + l.Name + ">" }
func (l *link) Type() string          { return "link" }
func (l *link) Freeze()               {}
func (l *link) Truth() starlark.Bool  { return true }
func (l *link) Hash() (uint32, error) { return starlark.String(l.URL).Hash() }

func (l *link) Attr(name string) (starlark.Value, error) {
	switch name {
	case "name":
		return starlark.String(l.Name), nil
	case "url":
		return starlark.String(l.URL), nil
	case "groups":
		return stringsOf(l.Groups), nil
	}
	return nil, nil
}

func (l *link) AttrNames() []string { return []string{"groups", "name", "url"} }

// CompareSameType tells whether two links are the same: they have no order (see newest).
func (l *link) CompareSameType(op syntax.Token, y starlark.Value, _ int) (bool, error) {
	other := y.(*link)
	same := l.Name == other.Name && l.URL == other.URL && slices.Equal(l.Groups, other.Groups)
	switch op {
	case syntax.EQL:
		return same, nil
	case syntax.NEQ:
		return !same, nil
	}
	return false, fmt.Errorf("%s %s %s not implemented", l.Type(), op, other.Type())
}

// stringsOf is a list of texts.
func stringsOf(texts []string) *starlark.List {
	values := make([]starlark.Value, len(texts))
	for i, text := range texts {
		values[i] = starlark.String(text)
	}
	return starlark.NewList(values)
}

// links(url, pattern, anywhere=False, optional=False) returns what a page lists, as links in
// the order of the page, each name once.
//
// A link has name, the last element of the path that it leads to, decoded and without a slash; url;
// and groups, what the groups of the pattern match, the whole name first. pattern is an RE2
// expression for whole names, or a list of such, of which the first counts that matches
// anything; quote makes other text safe inside of one.
//
// The page is an index in HTML of any server, whose names are read from where its anchors lead to; or JSON,
// in which any text may be a name or a URL; or plain text of such words. anywhere finds the pattern at any
// place of the body instead, and what it matches is the name.
//
// It is an error if the server has no such page, and if nothing matches, unless that is
// optional: then the list is empty. A server that cannot be reached counts as serving what it
// last did. A plan does not ask it: it goes on with one link whose name is the pattern in
// angle brackets, unless it is to resolve them.
//
// Example:
//
//	for link in links("https://example.org/packages/", "(tool|lib)-([0-9.]+)[.]txz"):
//	    print(link.groups[1], link.groups[2], link.url)
func (b *Words) links(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var page webURL
	var wanted patterns
	var l build.Listing
	if err := unpackArgs(fn, args, kwargs, "url", &page, "pattern", &wanted, "anywhere?", &l.Anywhere, "optional?", &l.Optional); err != nil {
		return nil, err
	}
	l.URL, l.Patterns = string(page), wanted
	s := b.newStep(thread, fn, nil, arg("url", l.URL), arg("pattern", wanted.plain()))
	if l.Anywhere {
		s.Args = append(s.Args, arg("anywhere", true))
	}
	if l.Optional {
		s.Args = append(s.Args, arg("optional", true))
	}
	found, err := build.Ask(Context(thread), b.Worker, s, build.Links(l))
	if err != nil {
		return nil, err
	}
	values := make([]starlark.Value, len(found))
	for i, one := range found {
		values[i] = &link{one}
	}
	return starlark.NewList(values), nil
}

// first_found(urls) returns the first of several URLs that its server has, or None. A server
// that cannot be reached is an error; a plan goes on with the first URL, unless it is to
// resolve them.
//
// Example:
//
//	names = ["https://example.org/9-stream", "https://vault.example.org/9-stream"]
//	url = first_found(names)
//	if url == None:
//	    fail("there is none of", names)
func (b *Words) firstFound(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var urls webURLs
	if err := unpackArgs(fn, args, kwargs, "urls", &urls); err != nil {
		return nil, err
	}
	found, err := build.Ask(Context(thread), b.Worker, b.newStep(thread, fn, nil, arg("urls", []string(urls))), build.FirstFound(urls))
	if err != nil || found == "" {
		return starlark.None, err
	}
	return starlark.String(found), nil
}

// webURL is an argument that is an http or https URL.
type webURL string

func (u *webURL) Unpack(v starlark.Value) error {
	text, ok := starlark.AsString(v)
	if !ok {
		return fmt.Errorf("got %s, want a URL", v.Type())
	}
	*u = webURL(text)
	return fetch.Request{URL: text}.Check()
}

// webURLs is an argument that is a list of these, at least one.
type webURLs []string

func (l *webURLs) Unpack(v starlark.Value) error {
	var texts stringList
	if err := texts.Unpack(v); err != nil {
		return err
	}
	for _, text := range texts {
		if err := (fetch.Request{URL: text}).Check(); err != nil {
			return err
		}
	}
	if *l = webURLs(texts); len(*l) == 0 {
		return fmt.Errorf("the list is empty")
	}
	return nil
}

// patterns is an argument that is one pattern for names or a list of them.
type patterns []listing.Pattern

func (p *patterns) Unpack(v starlark.Value) error {
	texts := stringList{}
	if text, ok := starlark.AsString(v); ok {
		texts = stringList{text}
	} else if err := texts.Unpack(v); err != nil {
		return err
	}
	for _, text := range texts {
		one, err := listing.ParsePattern(text)
		if err != nil {
			return err
		}
		*p = append(*p, one)
	}
	if len(*p) == 0 {
		return fmt.Errorf("the list is empty")
	}
	return nil
}

// plain is what a plan shows of it.
func (p patterns) plain() any {
	texts := make([]string, len(p))
	for i, one := range p {
		texts[i] = one.String()
	}
	if len(texts) == 1 {
		return texts[0]
	}
	return texts
}
