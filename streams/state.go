package streams

import (
	"encoding/json"
	"path"
	"time"

	"imagebuilder/streams/catalog"
	"imagebuilder/streams/page"
	"imagebuilder/streams/site"
)

// What a build remembers besides the caches of its streams. All of it can be lost: then the
// next build does all the work again, and comes to the same end.

// A buildRecord says what a build published and from what, so that the next one can tell
// at a glance that there is nothing to do. It is believed only where all of it is
// still so.
type buildRecord struct {
	Options string            `json:"options"` // of all that shapes what is published
	Caches  map[string]string `json:"caches"`  // id of each stream's side cache
	Files   map[string]string `json:"files"`   // path and stamp of what was published
	Clean   bool              `json:"clean"`   // nothing was wrong that only a full build would say again
	Stale   time.Time         `json:"stale"`   // when the page changes by itself; zero: never

	// Withheld are the complete versions of each stream that are not listed
	// because all of their images are elsewhere.
	Withheld map[string][]catalog.Location `json:"withheld"`
	// Damaged are the streams from whose catalogs a prune has since dropped products that
	// it could not trust. What these catalogs do not know may be good.
	Damaged map[string]bool `json:"damaged,omitempty"`

	// How it was asked to, so that Prune and a repair can do the same.
	Page     *page.Setup  `json:"page"`
	Deltas   DeltaOptions `json:"deltas"`
	Upstream bool         `json:"upstream"`
	MaxFile  int64        `json:"max_file,omitempty"`
}

// recordPath is unlike every other path of the state, whatever the stream version is.
func (w *openSite) recordPath() string { return path.Join(site.StateDir, w.StreamVersion+".record") }

func (w *openSite) readRecord() buildRecord {
	var r buildRecord
	if json.Unmarshal(w.files.ReadState(w.recordPath()), &r) != nil {
		return buildRecord{} // a damaged one is as good as none
	}
	return r
}
