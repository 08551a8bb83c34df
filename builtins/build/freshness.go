package build

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
)

// What a step that reads the network depends on besides the recipe.

// A Freshness says when a step that reads the network must be done again although the
// recipe is the same.
type Freshness struct {
	Daily bool     // every UTC day
	URLs  []string // whenever one of these serves something else
}

// Check finds what is wrong with the URLs.
func (f Freshness) Check() error {
	for _, u := range f.URLs {
		err := fetch.Request{URL: u}.Check()
		if fetch.IsFile(u) {
			_, err = fetch.FilePath(u)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// network tells whether a step with this freshness reads the network.
func (f Freshness) network() bool { return f.Daily || len(f.URLs) > 0 }

// plain shows it as a recipe says it.
func (f Freshness) plain() any {
	switch {
	case f.Daily && len(f.URLs) > 0:
		return append([]string{"daily"}, f.URLs...)
	case f.Daily:
		return "daily"
	}
	return f.URLs
}

// wishes are the downloads that the stamps of a step will ask for.
func (f Freshness) wishes() []fetch.Wish {
	var wishes []fetch.Wish
	for _, u := range f.URLs {
		if !fetch.IsFile(u) {
			wishes = append(wishes, fetch.Wish{Request: indexRequest(u)})
		}
	}
	return wishes
}

// Expected are downloads that a run may begin with: those of its plan, and if the last run has
// asked for one of them, what that asked for later, where no plan sees it.
func (b *Builder) Expected(planned []fetch.Wish) []fetch.Wish {
	last := make(map[string]bool)
	for _, name := range b.History.Inputs() {
		if strings.Contains(name, "://") && !fetch.IsFile(name) {
			last[name] = true
		}
	}
	asked := len(last)
	for _, w := range planned {
		delete(last, w.URL)
	}
	if len(last) == asked {
		return planned
	}
	later := Freshness{URLs: slices.Sorted(maps.Keys(last))}
	return append(planned[:len(planned):len(planned)], later.wishes()...)
}

// stamps are the inputs of a step that lie outside the recipe.
func (b *Builder) stamps(ctx context.Context, f Freshness) ([]layer.Input, error) {
	if inputs, ok, err := b.lockedStamps(ctx, f); ok {
		return inputs, err
	}
	// The real day: SOURCE_DATE_EPOCH says what goes into images, not how old they may be.
	clock := b.Clock
	if clock == nil {
		clock = host.SystemClock
	}
	today := layer.Input{Name: "day", Value: clock().UTC().Format(time.DateOnly)}
	inputs := make([]layer.Input, len(f.URLs))
	var group errgroup.Group
	for i, url := range f.URLs {
		group.Go(func() error {
			value, err := b.stamp(ctx, url, today.Value)
			inputs[i] = layer.Input{Name: url, Value: value}
			return err
		})
	}
	err := group.Wait()
	for _, in := range inputs {
		if err == nil && in.Value != today.Value {
			b.read(in.Name, &File{SHA256: in.Value})
		}
	}
	if f.Daily {
		inputs = append(inputs, today)
	}
	return inputs, err
}

// maxIndex bounds the size of what stands for the freshness of a step.
const maxIndex = 1 << 30

func indexRequest(url string) fetch.Request { return fetch.Request{URL: url, MaxSize: maxIndex} }

// stamp says what a URL serves. One that this machine could never read is no reason to fail: it
// counts as what changes every day, and whether programs can read it, they will say.
func (b *Builder) stamp(ctx context.Context, url, today string) (string, error) {
	if value, ok := b.unread.Load(url); ok {
		return value.(string), nil
	}
	value, err := b.index(ctx, url)
	if err == nil || context.Cause(ctx) != nil || fetch.IsStale(err) {
		return value, err
	}
	if !errors.Is(err, fetch.ErrNotFound) && !errors.Is(err, fs.ErrNotExist) { // else the day must do
		b.Log.Warn("taken to change every day", "url", url, "cause", err)
	}
	b.unread.Store(url, today)
	return today, nil
}

// index returns the digest of what a URL serves, or of the file that it names.
func (b *Builder) index(ctx context.Context, url string) (string, error) {
	if !fetch.IsFile(url) {
		file, err := b.Fetch.Fetch(ctx, indexRequest(url))
		return file.SHA256, err
	}
	path, err := fetch.FilePath(url)
	if err != nil {
		return "", err
	}
	file, err := openFile(path, url)
	if err != nil {
		return "", err
	}
	return file.SHA256, nil
}
