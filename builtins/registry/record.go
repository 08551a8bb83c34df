package registry

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/static"
)

// What runs have used of a shared store, so that the rest of it can be removed: each leaves a
// record there, an image whose tag says when it was.

// recordPrefix begins the tags of records; what follows it sorts by time.
const recordPrefix = "run-"

// recordType is the media type of a record.
const recordType = "application/vnd.imagebuilder.run.v1+json"

// A Record is what a run has used.
type Record struct {
	Recipe  string   `json:"recipe"`
	Options []string `json:"options,omitempty"`
	Entries []string `json:"entries"` // tags, sorted

	tag string
}

// what tells runs apart that stand for each other: the newest are of use.
func (r Record) what() string { return fmt.Sprintf("%q %q", r.Recipe, r.Options) }

// Leave leaves a record of what was used up to now, in a store to which something is given.
func (s *Share) Leave(ctx context.Context, recipe string, options []string) {
	if s.Signer == nil || s.Giving == None || s.troubled(giving) {
		return
	}
	s.mu.Lock()
	r := Record{Recipe: recipe, Options: options, Entries: slices.Sorted(maps.Keys(s.used))}
	s.mu.Unlock()
	if err := s.leave(ctx, r); err != nil && context.Cause(ctx) == nil {
		s.Log.Warn("cannot say in the shared store what the run has used: 'imagebuilder remote prune' may remove it", "store", s.repo.String(), "cause", err)
	}
}

func (s *Share) leave(ctx context.Context, r Record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	image, err := newImage(recordType, text, static.NewLayer(text, recordType)) // as images have layers
	if err != nil {
		return err
	}
	return s.pusher.Push(ctx, s.repo.Tag(recordTag(time.Now())+"-"+strings.ToLower(rand.Text()[:8])), image)
}

// recordTag is how the tags of records of a moment begin.
func recordTag(t time.Time) string { return recordPrefix + t.UTC().Format("20060102T150405.000000Z") }

// byTime orders the tags of records, the oldest first. One of more than a day to come is from a
// machine whose clock is wrong: it is no newer than any, or it would be the newest for years.
func byTime() func(a, b string) int {
	tomorrow := recordTag(time.Now().Add(24 * time.Hour))
	return func(a, b string) int {
		if wrongA, wrongB := a > tomorrow, b > tomorrow; wrongA != wrongB {
			if wrongA {
				return -1
			}
			return 1
		}
		return cmp.Compare(a, b)
	}
}

// Addresses are those of all entries, or with recipes of those that the last runs of these have
// used, with any options.
func (s *Share) Addresses(ctx context.Context, recipes []string) ([]string, error) {
	tags, err := s.puller.List(ctx, s.repo)
	if err != nil && !missing(err) {
		return nil, err
	}
	if len(recipes) == 0 {
		return slices.DeleteFunc(tags, func(tag string) bool { return !isAddress(tag) }), nil
	}
	last, there := make(map[string]Record), make(map[string]bool)
	for _, tag := range slices.SortedFunc(slices.Values(tags), byTime()) {
		there[tag] = true
		if !strings.HasPrefix(tag, recordPrefix) {
			continue
		}
		r, err := s.record(ctx, tag)
		if err != nil {
			return nil, fmt.Errorf("cannot read %s:%s: %w", s.repo, tag, err)
		}
		if slices.Contains(recipes, r.Recipe) {
			last[r.what()] = r
		}
	}
	wanted := make(map[string]bool)
	for _, r := range last {
		for _, tag := range r.Entries {
			if isAddress(tag) && there[tag] {
				wanted[tag] = true
			}
		}
	}
	for _, name := range recipes {
		if !slices.ContainsFunc(slices.Collect(maps.Values(last)), func(r Record) bool { return r.Recipe == name }) {
			return nil, fmt.Errorf("no run of %s has left a record in %s", name, s.repo)
		}
	}
	return slices.Sorted(maps.Keys(wanted)), nil
}

// A Pruned is what came of a prune.
type Pruned struct {
	Records, Entries         int // that are there no more
	KeptRecords, KeptEntries int
	Others                   int // tags that are nothing of ours
}

// Prune removes the records of runs but the newest ones of each recipe with the same options, and
// what those do not name. What was given not longer ago than grace stays, as a run that is not at
// its end yet may have given it. With dry it only counts.
func (s *Share) Prune(ctx context.Context, keep int, grace time.Duration, dry bool) (p Pruned, err error) {
	tags, err := s.puller.List(ctx, s.repo)
	if missing(err) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	var records []Record
	var entries []string
	for _, tag := range tags {
		switch {
		case isAddress(strings.TrimPrefix(tag, bodyPrefix)) || isAddress(strings.TrimPrefix(tag, reportPrefix)):
			entries = append(entries, tag)
		case strings.HasPrefix(tag, recordPrefix):
			r, err := s.record(ctx, tag)
			if err != nil {
				return p, fmt.Errorf("cannot read %s:%s: %w", s.repo, tag, err)
			}
			records = append(records, r)
		default:
			p.Others++
		}
	}
	newer := byTime()
	slices.SortFunc(records, func(a, b Record) int { return newer(b.tag, a.tag) })
	count, named := make(map[string]int), make(map[string]bool)
	var old []string
	for _, r := range records {
		if count[r.what()]++; count[r.what()] > keep {
			old = append(old, r.tag)
			continue
		}
		p.KeptRecords++
		for _, address := range r.Entries {
			named[address] = true
		}
	}
	for _, tag := range entries { // before the records, so that what is left by a prune that ends early is found again
		goes := !named[tag]
		if goes {
			if goes, err = s.old(ctx, tag, grace); err != nil {
				return p, err
			}
		}
		if !goes {
			p.KeptEntries++
			continue
		}
		if err := s.remove(ctx, tag, dry); err != nil {
			return p, err
		}
		p.Entries++
	}
	for _, tag := range old {
		if err := s.remove(ctx, tag, dry); err != nil {
			return p, err
		}
		p.Records++
	}
	return p, nil
}

// isAddress tells whether a tag is one of entries.
func isAddress(tag string) bool {
	return len(tag) == 64 && strings.Trim(tag, "0123456789abcdef") == ""
}

func (s *Share) record(ctx context.Context, tag string) (Record, error) {
	got, err := s.puller.Get(ctx, s.repo.Tag(tag))
	if err != nil {
		return Record{}, err
	}
	image, err := got.Image()
	if err != nil {
		return Record{}, err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return Record{}, err
	}
	if manifest.Config.MediaType != recordType || manifest.Config.Size > maxDescription {
		return Record{}, errors.New("it is no record of a run")
	}
	text, err := image.RawConfigFile()
	if err != nil {
		return Record{}, err
	}
	r := Record{tag: tag}
	return r, json.Unmarshal(text, &r)
}

// old tells whether a tag was given long ago. Of what is not ours nobody knows.
func (s *Share) old(ctx context.Context, tag string, grace time.Duration) (bool, error) {
	got, err := s.puller.Get(ctx, s.repo.Tag(tag))
	if missing(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var said struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(got.Manifest, &said); err != nil {
		return false, fmt.Errorf("cannot read %s:%s: %w", s.repo, tag, err)
	}
	created, err := time.Parse(time.RFC3339, said.Annotations[createdAnnotation])
	return err == nil && time.Since(created) > grace, nil
}

// remove takes a tag out of the repository with its image. Registries know how to remove that by
// its digest, and not all of them the tag without it.
func (s *Share) remove(ctx context.Context, tag string, dry bool) error {
	if dry {
		return nil
	}
	is, err := s.puller.Head(ctx, s.repo.Tag(tag))
	if missing(err) {
		return nil
	}
	if err == nil {
		err = s.pusher.Delete(ctx, s.repo.Digest(is.Digest.String()))
	}
	if err == nil {
		if _, left := s.puller.Head(ctx, s.repo.Tag(tag)); left == nil {
			err = s.pusher.Delete(ctx, name.Reference(s.repo.Tag(tag)))
		}
	}
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusMethodNotAllowed {
		err = errors.New("the registry removes nothing: docker-registry has to be started with REGISTRY_STORAGE_DELETE_ENABLED=true, and without read-only mode")
	}
	if err != nil && !missing(err) {
		return fmt.Errorf("cannot remove %s:%s: %w", s.repo, tag, err)
	}
	return nil
}
