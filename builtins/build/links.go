package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/listing"
)

// Questions of the network: what a page lists, and which URL there is.

// Listing asks for links of a page.
type Listing struct {
	URL      string
	Patterns []listing.Pattern // of which the first counts that finds anything
	Anywhere bool              // look for them in the whole body of the page
	Optional bool              // that nothing matches is an answer
}

// Links asks what a page lists. A plan takes what the first pattern may find for the answer.
func Links(l Listing) Question[[]listing.Link] {
	return Question[[]listing.Link]{
		What:  "links",
		Shown: names,
		Find: func(ctx context.Context, b *Builder) ([]listing.Link, error) {
			page, err := b.page(ctx, l.URL)
			if err != nil {
				return nil, err
			}
			find := page.Select
			if l.Anywhere {
				find = page.Search
			}
			links, err := find(l.Patterns)
			var none *listing.NoneError
			if errors.As(err, &none) && l.Optional {
				return nil, nil
			}
			if err != nil {
				return nil, fmt.Errorf("cannot find links on %s: %w", l.URL, err)
			}
			return links, nil
		},
		Assume: func(*Planner) ([]listing.Link, bool) {
			return []listing.Link{l.Patterns[0].Assumed(l.URL)}, false
		},
	}
}

func names(links []listing.Link) []string {
	list := make([]string, len(links))
	for i, l := range links {
		list[i] = l.Name
	}
	return list
}

// maxPage is how large a page may be that lists something.
const maxPage = 16 << 20

// page returns what a URL serves.
func (b *Builder) page(ctx context.Context, rawURL string) (listing.Page, error) {
	f, err := b.Fetch.Fetch(ctx, fetch.Request{URL: rawURL, MaxSize: maxPage})
	if err != nil {
		return listing.Page{}, err
	}
	if f.URL == "" { // kept by a version that took no note of it
		f.URL = rawURL
	}
	from, err := url.Parse(f.URL)
	if err != nil {
		return listing.Page{}, err
	}
	body, err := os.ReadFile(f.Path)
	return listing.Page{URL: from, Type: f.Type, Body: body}, err
}

// FirstFound asks which of several URLs is the first that a server has; "": it has none. A
// plan takes the first one.
func FirstFound(urls []string) Question[string] {
	return Question[string]{
		What:  "first_found",
		Shown: func(found string) []string { return []string{cmp.Or(found, "none")} },
		Find: func(ctx context.Context, b *Builder) (string, error) {
			for _, u := range urls {
				_, err := b.Fetch.Head(ctx, u)
				if err == nil {
					return u, nil
				}
				if !errors.Is(err, fetch.ErrNotFound) {
					return "", err
				}
			}
			return "", nil
		},
		Assume: func(*Planner) (string, bool) { return urls[0], false },
	}
}
