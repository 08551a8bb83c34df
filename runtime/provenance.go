package runtime

import (
	"context"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/lock"
	"imagebuilder/builtins/provenance"
)

// Where images come from, as the run knows that has made them.

// A Voucher is told where the images in a directory come from, and writes that there. What it
// has written is a result, too; an empty one: nothing.
type Voucher func(ctx context.Context, dir string, said provenance.Build) (build.Result, error)

// vouch tells where the results come from, those of a directory at once.
func (r *Recipe) vouch(voucher Voucher, b *build.Builder, start time.Time) error {
	said := r.provenance(b)
	if l := b.Fetch.Lock; l != nil {
		said.Lock = filepath.Base(l.Name)
		said.Inputs = append(said.Inputs, provenance.Resource{Name: said.Lock, SHA256: l.Digest().String()})
		said.Inputs = append(said.Inputs, wire(l, said.Inputs)...)
	}
	if said.Epoch == "" { // else the same images are to have the same provenance
		said.Started, said.Ended = start, time.Now()
	}
	images := make(map[string][]provenance.Resource)
	for _, result := range b.Results {
		if result.SHA256 == "" {
			continue // a directory
		}
		dir, name := filepath.Split(result.Path)
		images[filepath.Clean(dir)] = append(images[filepath.Clean(dir)], provenance.Resource{Name: name, SHA256: result.SHA256})
	}
	for _, dir := range slices.Sorted(maps.Keys(images)) {
		said.Images = images[dir]
		written, err := voucher(r.loader.ctx, dir, said)
		if err != nil {
			return err
		}
		if written.Path != "" {
			b.Results = append(b.Results, written)
		}
	}
	return nil
}

// wire is what else a lock has of the network. Which of it has come into which layer nobody knows
// who has that from the cache, so that it is all of it.
func wire(l *lock.Session, known []provenance.Resource) []provenance.Resource {
	said := make(map[[2]string]bool)
	for _, r := range known {
		said[[2]string{r.URI, r.SHA256}] = true
	}
	var list []provenance.Resource
	for _, get := range l.Gets() {
		if uri := withoutPassword(get.URL); !said[[2]string{uri, get.SHA256}] {
			list = append(list, provenance.Resource{URI: uri, SHA256: get.SHA256})
		}
	}
	return list
}

// Differs finds out whether a file of the recipe has another text than that which images were
// made with.
func (r *Recipe) Differs(said provenance.Build) error {
	for name, text := range r.loader.texts {
		if err := said.Same(name, digest.Sum([]byte(text)).String()); err != nil {
			return err
		}
	}
	return nil
}

// provenance is what a run can say of all its images.
func (r *Recipe) provenance(b *build.Builder) provenance.Build {
	said := provenance.Build{
		Recipe:  r.Name,
		Options: withoutPasswords(r.given()),
		Epoch:   string(r.words.Epoch),
		Tools:   make(map[string]string),
	}
	for _, tool := range host.Tools() {
		if r.needs[tool.Name] {
			if version := tool.VersionLine(r.loader.ctx); version != "" {
				said.Tools[tool.Name] = version
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.loader.texts)) {
		said.Inputs = append(said.Inputs, provenance.Resource{Name: name, SHA256: digest.Sum([]byte(r.loader.texts[name])).String()})
	}
	for _, in := range b.Inputs() {
		where := provenance.Resource{Name: in.Name, SHA256: in.SHA256, SignedBy: in.SignedBy}
		if strings.Contains(in.Name, "://") {
			where.Name, where.URI = "", withoutPassword(in.Name)
		}
		said.Inputs = append(said.Inputs, where)
	}
	for _, step := range b.Done {
		if step.Key != "" {
			said.Layers = append(said.Layers, provenance.Layer{Key: step.Key, Step: step.Step, What: step.What})
		}
	}
	return said
}

// withoutPasswords is withoutPassword of options.
func withoutPasswords(options []string) []string {
	var list []string
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		list = append(list, name+"="+withoutPassword(value))
	}
	return list
}

// withoutPassword is a text for everyone: a URL has no password any more.
func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return text
	}
	if _, has := u.User.Password(); !has {
		return text
	}
	return u.Redacted()
}
