package streams

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/page"
	"imagebuilder/streams/site"
)

// Prune from its options to its end. It decides in pruneplan.go, publishes what stays, and
// only then removes files, so that no catalog lists what is not there (remove.go).

const (
	// DefaultRetainBuilds is how many versions of a product Prune keeps.
	DefaultRetainBuilds = 10
	// DefaultGrace is how long files stay after they have left the catalog: clients
	// go by an old one for an hour, and then their downloads take their time.
	DefaultGrace = 2 * time.Hour
	// AtOnce, as a grace, has files removed as soon as the catalog is without them.
	AtOnce time.Duration = -1
	// DefaultDanglingAge is how long what no catalog lists has been left alone
	// before it is taken for a left-over rather than for an upload.
	DefaultDanglingAge = 6 * time.Hour
)

// PruneOptions say what Prune takes out of the catalogs and removes.
type PruneOptions struct {
	Site
	Retain      inventory.Retention // Builds 0: DefaultRetainBuilds, or all if only Remove says what goes
	Remove      []string            // fingerprints, or their unique beginnings, of images whose versions go as well
	Grace       time.Duration       // from leaving the catalog to removal; 0: DefaultGrace
	Dangling    bool                // also remove what no catalog lists
	DanglingAge time.Duration       // once nothing in it was changed for so long; 0: DefaultDanglingAge
	Page        *page.Setup         // as in BuildOptions; nil: as the last Build had it
	Signer      *site.Signer        // as in BuildOptions
	DryRun      bool                // only say what would be done
	Safety
}

// Prune takes old versions, and those that have vanished, out of the catalogs. Their
// files are removed by a Prune that comes after the grace period, as are deltas that
// are not listed any more. Versions that are waiting for that are not listed again by
// Build. Nothing outside the directories of the streams is ever removed.
func Prune(ctx context.Context, opts PruneOptions) (PruneSummary, error) {
	if err := opts.Retain.Check(); err != nil {
		return PruneSummary{}, err
	}
	if opts.Retain.Builds == 0 && (opts.Retain.Days > 0 || len(opts.Remove) == 0) {
		opts.Retain.Builds = DefaultRetainBuilds
	}
	if opts.Grace == 0 {
		opts.Grace = DefaultGrace
	}
	if opts.DanglingAge == 0 {
		opts.DanglingAge = DefaultDanglingAge
	}
	w, err := opts.Site.open()
	if err != nil {
		return PruneSummary{}, err
	}
	defer w.close()
	l, err := w.files.Lock(opts.DryRun, w.clock)
	if err != nil {
		return PruneSummary{}, err
	}
	defer l.Close()
	p := &pruner{openSite: w, opts: opts, now: w.clock(), start: l.Start, leaving: inventory.ReadLeaving(w.files), record: w.readRecord()}
	err = p.run(ctx)
	p.sum.Waiting = len(p.leaving)
	return p.sum, err
}

// A pruner is one run of Prune.
type pruner struct {
	*openSite
	opts    PruneOptions
	now     time.Time
	start   int64 // time of the file system, with which times of files are compared
	leaving inventory.Leaving
	record  buildRecord
	streams []*streamPrune
	sum     PruneSummary
}

func (p *pruner) run(ctx context.Context) error {
	if p.opts.DryRun {
		return p.preview(ctx)
	}
	if err := p.publish(ctx); err != nil {
		return err
	}
	return p.clean(ctx)
}

// publish writes the catalogs without what goes, and all that is derived from them.
func (p *pruner) publish(ctx context.Context) (err error) {
	pub, err := site.NewPublication(p.files, p.catalogs.Dir())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pub.Discard()) }()
	index, err := p.catalogs.Index()
	if err != nil { // it may list other streams, which would be lost
		return fmt.Errorf("cannot read %s: %w; a build of all streams makes it anew", p.full(p.catalogs.IndexPath()), dirfd.Cause(err))
	}
	entries := make(map[string]catalog.IndexEntry)
	maps.Copy(entries, index.Entries)
	for _, name := range p.Streams {
		changed, err := p.stage(pub, name+".json", p.opts.Signer, func(out *bufio.Writer) error {
			return p.plan(ctx, name, out)
		})
		if err != nil {
			return err
		}
		entries[name] = p.entry(name, index.Entries[name], changed, p.streams[len(p.streams)-1].ids)
	}
	if err := p.checkRemoved(); err != nil {
		return err
	}
	if err := p.checkIndex(p.opts.Safety, index.Entries, entries); err != nil {
		return err
	}
	if err := p.stageIndex(pub, entries, p.opts.Signer); err != nil {
		return err
	}
	if opts := cmp.Or(p.opts.Page, p.record.Page); opts != nil {
		if _, err := p.stageWebpage(pub, *opts, entries); err != nil {
			return err
		}
	}
	// The state comes before the catalog: a version that is in it is not listed again,
	// whereas one that is only missing from the catalog would be.
	p.enter()
	if err := p.leaving.Write(p.files); err != nil {
		return err
	}
	if err := p.noteDamage(); err != nil {
		return err
	}
	p.sum.Published, err = pub.Commit(ctx)
	return err
}

// clean removes the files whose time has come.
func (p *pruner) clean(ctx context.Context) error {
	err := p.removeDue(ctx)
	if err == nil && p.opts.Dangling {
		err = p.removeDangling(ctx)
	}
	if err == nil {
		err = p.sweep(ctx)
	}
	return errors.Join(err, p.leaving.Write(p.files))
}

// enter notes what leaves the catalogs now, and forgets what has come back.
func (p *pruner) enter() {
	for r, d := range p.leaving {
		if d.Since.After(p.now) {
			p.leaving[r] = inventory.Departure{Since: p.now, Which: d.Which} // the clock was set back
		}
	}
	for _, s := range p.streams {
		for _, r := range s.leaves {
			p.leaving.Enter(p.files, r, p.now)
		}
		for _, r := range s.strays {
			if _, ok := p.leaving[r]; !ok {
				p.leaving.Enter(p.files, r, p.now)
			}
		}
		for _, r := range s.back {
			delete(p.leaving, r)
		}
	}
}

// noteDamage remembers from which catalogs products are dropped that may be good, until
// a build lists them again.
func (p *pruner) noteDamage() error {
	before := len(p.record.Damaged)
	for _, s := range p.streams {
		if len(s.foreign) > 0 {
			if p.record.Damaged == nil {
				p.record.Damaged = make(map[string]bool)
			}
			p.record.Damaged[s.name] = true
		}
	}
	if len(p.record.Damaged) == before {
		return nil
	}
	return p.files.WriteState(p.recordPath(), p.record)
}

// preview says what would be done.
func (p *pruner) preview(ctx context.Context) error {
	for _, name := range p.Streams {
		if err := p.plan(ctx, name, io.Discard); err != nil {
			return err
		}
	}
	if err := p.checkRemoved(); err != nil {
		return err
	}
	for _, s := range p.streams {
		for _, r := range slices.Concat(s.leaves, s.strays) {
			p.info("Would leave the catalog and be removed", "path", p.full(r.Path()))
		}
		for _, place := range s.dangling {
			p.info("Would be removed as dangling", "path", p.full(place.Path()))
		}
	}
	for _, r := range p.leaving.Sorted() {
		if p.due(p.leaving[r].Since) {
			p.info("Would be removed", "path", p.full(r.Path()))
		}
	}
	return nil
}

func (p *pruner) due(since time.Time) bool {
	return p.opts.Grace < 0 || p.now.Sub(since) >= p.opts.Grace
}

// trouble reports what could not be looked at and stays as it is therefore.
func (p *pruner) trouble(name string, err error) {
	p.sum.Failed++
	p.fail("Failed to read directory", "path", p.full(name), "error", err)
}
