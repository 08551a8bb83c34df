package streams

import (
	"bufio"
	"encoding/json"
	"path"
	"time"

	"imagebuilder/streams/page"
)

// A record says what a build published and from what, so that the next one can tell
// at a glance that there is nothing to do. It is believed only where all of it is
// still so.
type record struct {
	Options string            `json:"options"` // of all that shapes what is published
	Caches  map[string]string `json:"caches"`  // id of each stream's side cache
	Files   map[string]string `json:"files"`   // path and stamp of what was published
	Clean   bool              `json:"clean"`   // nothing was wrong that only a full build would say again
	Stale   time.Time         `json:"stale"`   // when the page changes by itself; zero: never

	// Withheld are the paths of the complete versions of each stream that are not listed
	// because all of their images are elsewhere.
	Withheld map[string][]string `json:"withheld"`
	// Damaged are the streams from whose catalogs a prune has since dropped products that
	// it could not trust. What these catalogs do not know may be good.
	Damaged map[string]bool `json:"damaged,omitempty"`

	// How it was asked to, so that Prune and a repair can do the same.
	Page     *page.Options `json:"page"`
	Deltas   DeltaOptions  `json:"deltas"`
	Upstream bool          `json:"upstream"`
}

// recordPath is unlike every other path of the state, whatever the stream version is.
func (w *work) recordPath() string { return path.Join(stateDir, w.StreamVersion+".record") }

func (w *work) cachePath(stream string) string { return path.Join(stateDir, stream+".cache") }

// maxState bounds what is read of the tool's own files; a million versions need less.
const maxState = 1 << 30

// readState reads a file of the tool's own, nil if it cannot be read: whatever is
// in one, it can be lost without harm.
func (s *site) readState(name string) []byte {
	f, err := s.open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := readRegular(f, maxState)
	if err != nil {
		return nil
	}
	return data
}

func (s *site) writeState(name string, value any) error {
	return s.replace(name, func(w *bufio.Writer) error { return json.NewEncoder(w).Encode(value) })
}

func (w *work) readRecord() record {
	var r record
	json.Unmarshal(w.site.readState(w.recordPath()), &r) // a damaged one is as good as none
	return r
}

// readCache returns what is known of a stream, judged as it is to be now. Where it was
// judged otherwise only the hashes still count.
func (w *work) readCache(stream string, upstream bool) *cache {
	c, err := decodeCache(w.site.readState(w.cachePath(stream)))
	if err != nil {
		return new(cache)
	}
	if c.upstream != upstream {
		for _, p := range c.products {
			for _, v := range p.versions {
				v.complete, v.verdict = false, unjudged
			}
		}
	}
	return c
}

func (w *work) writeCache(stream string, c *cache) error {
	return w.site.replace(w.cachePath(stream), func(out *bufio.Writer) (err error) {
		c.id, err = c.encode(out)
		return err
	})
}
