package builtins

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/listing"
	"imagebuilder/builtins/version"
)

// Words about names and addresses that look at nothing but their text.

// join_url(base, *parts) returns a URL with further elements of its path, which have one slash
// between them. The query and the fragment of the base are dropped; the last part may have a
// query of its own, and keeps its slash. Empty parts count for nothing.
//
// Example:
//
//	url = join_url("https://example.org/images/", img.release, "SHA256SUMS")
func (b *Words) joinURL(_ *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var base absoluteURL
	first := args[:min(len(args), 1)]
	if err := unpackArgs(fn, first, kwargs, "base", &base); err != nil {
		return nil, err
	}
	scheme, path, _ := strings.Cut(base.path(), "://")
	elements, query, slash := elementsOf(path), "", false
	if strings.HasPrefix(path, "/") { // of a file of this machine
		elements = append([]string{""}, elements...)
	}
	for _, v := range args[len(first):] {
		part, ok := starlark.AsString(v)
		if !ok {
			return nil, Misuse{fmt.Errorf("%s: got %s, want strings", fn.Name(), v.Type())}
		}
		if part == "" {
			continue
		}
		end := len(pathOf(part))
		elements, query, slash = append(elements, elementsOf(part[:end])...), part[end:], strings.HasSuffix(part[:end], "/") || end == 0
	}
	text := scheme + "://" + strings.Join(elements, "/")
	if slash {
		text += "/"
	}
	return starlark.String(text + query), nil
}

func elementsOf(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(e string) bool { return e == "" })
}

// absoluteURL is an argument that is a URL of a server, or file:///PATH.
type absoluteURL string

func (u *absoluteURL) Unpack(v starlark.Value) error {
	text, ok := starlark.AsString(v)
	if !ok {
		return fmt.Errorf("got %s, want a URL", v.Type())
	}
	*u = absoluteURL(text)
	parsed, err := url.Parse(u.path())
	if err == nil && (parsed.Scheme == "" || !strings.HasPrefix(text[len(parsed.Scheme):], "://") || parsed.Host+parsed.Path == "") {
		err = errors.New("a URL begins with a scheme and a host, as https://example.org does")
	}
	if err != nil {
		return fmt.Errorf("not an absolute URL: %q: %w", text, err)
	}
	return nil
}

// path is the URL without its query and fragment.
func (u absoluteURL) path() string { return pathOf(string(u)) }

// pathOf is what is in front of a query or fragment. What is in angle brackets is of an
// assumed name, in which no character has a meaning.
func pathOf(text string) string {
	depth := 0
	for i, c := range []byte(text) {
		switch c {
		case '<':
			depth++
		case '>':
			depth--
		case '?', '#':
			if depth <= 0 {
				return text[:i]
			}
		}
	}
	return text
}

// quote(text) returns the pattern that matches nothing but the text.
//
// Example:
//
//	root.replace("/etc/ssh/sshd_config", "^" + quote("#PermitRootLogin") + ".*", "PermitRootLogin no")
func (b *Words) quote(_ *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var text string
	if err := unpackArgs(fn, args, kwargs, "text", &text); err != nil {
		return nil, err
	}
	return starlark.String(regexp.QuoteMeta(text)), nil
}

// matches(pattern, text) returns what the groups of an RE2 expression match in a text that
// it matches as a whole, as a list of which the first is the text; None if it does not
// match. A group that has no part in the match is empty.
//
// Example:
//
//	parts = matches("([0-9]+)(?:[.]([0-9]+))?", "9.5")
//	major, minor = parts[1], parts[2]
func (b *Words) matches(_ *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var one pattern
	var text string
	if err := unpackArgs(fn, args, kwargs, "pattern", &one, "text", &text); err != nil {
		return nil, err
	}
	groups := one.Match(text)
	if groups == nil {
		return starlark.None, nil
	}
	return stringsOf(groups), nil
}

// pattern is an argument that is a pattern for whole names.
type pattern struct{ listing.Pattern }

func (p *pattern) Unpack(v starlark.Value) (err error) {
	text, ok := starlark.AsString(v)
	if !ok {
		return fmt.Errorf("got %s, want a pattern", v.Type())
	}
	p.Pattern, err = listing.ParsePattern(text)
	return err
}

// newest(items, key=None) returns strings or links in a new list, the newest first. Numbers in
// names are compared as numbers, and dev, alpha, beta, pre, rc and what stands behind a
// tilde are older than the release that they lead to. With key, the number of a group, links
// are compared by what that has matched; those that are alike stay in their order.
//
// Example:
//
//	names = newest(["tool-1.9.tar.gz", "tool-1.10-rc1.tar.gz", "tool-1.10.tar.gz"])
func (b *Words) newest(_ *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	items, err := sortNewest(fn, args, kwargs)
	if err != nil {
		return nil, err
	}
	return starlark.NewList(items), nil
}

// latest(items, key=None) returns the first of newest(items, key), which must not be empty.
//
// Example:
//
//	found = links("https://example.org/isos/", "system-[0-9]+[.][0-9]+[.]iso")
//	iso = download(latest(found).url)
func (b *Words) latest(_ *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	items, err := sortNewest(fn, args, kwargs)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("%s: there are no items", fn.Name())
	}
	return items[0], nil
}

func sortNewest(fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) ([]starlark.Value, error) {
	var list starlark.Iterable
	var key starlark.Value
	if err := unpackArgs(fn, args, kwargs, "items", &list, "key??", &key); err != nil {
		return nil, err
	}
	group := -1 // the name
	if key != nil {
		n, err := starlark.AsInt32(key)
		if err != nil || n < 0 {
			return nil, Misuse{fmt.Errorf("%s: key: got %s, want the number of a group", fn.Name(), key)}
		}
		group = n
	}
	type item struct {
		value starlark.Value
		name  string
	}
	var items []item
	for v := range starlark.Elements(list) {
		name, err := orderedBy(v, group)
		if err != nil {
			return nil, Misuse{fmt.Errorf("%s: %w", fn.Name(), err)}
		}
		items = append(items, item{v, name})
	}
	slices.SortStableFunc(items, func(a, b item) int { return version.Compare(b.name, a.name) })
	values := make([]starlark.Value, len(items))
	for i, one := range items {
		values[i] = one.value
	}
	return values, nil
}

// orderedBy is what the place of an item depends on: its name, or what a group has matched.
func orderedBy(v starlark.Value, group int) (string, error) {
	switch v := v.(type) {
	case *link:
		switch {
		case group < 0:
			return v.Name, nil
		case group >= len(v.Groups):
			return "", fmt.Errorf("key %d: the pattern of %s has %d groups", group, v, len(v.Groups)-1)
		}
		return v.Groups[group], nil
	case starlark.String:
		if group >= 0 {
			return "", fmt.Errorf("key %d: %s is a string, which has no groups", group, v)
		}
		return string(v), nil
	}
	return "", fmt.Errorf("got %s, want strings or links", v.Type())
}
