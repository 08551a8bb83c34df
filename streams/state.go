package streams

import (
	"bufio"
	"encoding/json"
	"path"
	"time"

	"imagebuilder/streams/catalog"
	"imagebuilder/streams/page"
	"imagebuilder/streams/site"
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

	// Withheld are the complete versions of each stream that are not listed
	// because all of their images are elsewhere.
	Withheld map[string][]catalog.Place `json:"withheld"`
	// Damaged are the streams from whose catalogs a prune has since dropped products that
	// it could not trust. What these catalogs do not know may be good.
	Damaged map[string]bool `json:"damaged,omitempty"`

	// How it was asked to, so that Prune and a repair can do the same.
	Page     *page.Options `json:"page"`
	Deltas   DeltaOptions  `json:"deltas"`
	Upstream bool          `json:"upstream"`
}

// recordPath is unlike every other path of the state, whatever the stream version is.
func (w *work) recordPath() string { return path.Join(site.StateDir, w.StreamVersion+".record") }

func (w *work) cachePath(stream string) string { return path.Join(site.StateDir, stream+".cache") }

func (w *work) readRecord() record {
	var r record
	if json.Unmarshal(w.files.ReadState(w.recordPath()), &r) != nil {
		return record{} // a damaged one is as good as none
	}
	return r
}

// readCache returns what is known of a stream, judged as it is to be now. Where it was
// judged otherwise only the hashes still count.
func (w *work) readCache(stream string, upstream bool) *cache {
	c, err := decodeCache(w.files.ReadState(w.cachePath(stream)), stream)
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
	return w.files.Replace(w.cachePath(stream), func(out *bufio.Writer) (err error) {
		c.id, err = c.encode(out)
		return err
	})
}
