package streams

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/problems"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/page"
	"imagebuilder/streams/site"
)

// Build from its options to its end: look, leave it at that if nothing has changed, else
// process.go, choose.go and buildpublish.go in this order. What it remembers is in state.go.

const (
	// DefaultDeltaShare is the share of its file from which on a delta is not worth having.
	DefaultDeltaShare = 0.8
	// DefaultMaxDrop is the share of its versions that a stream may lose at once.
	DefaultMaxDrop = 0.75
	// DefaultMaxFile is the size up to which a file of an image is read. Images are far smaller;
	// to read a hole of some terabytes takes hours, in which nothing would be published.
	DefaultMaxFile = 256 << 30
)

// BuildOptions say what Build publishes, and from what.
type BuildOptions struct {
	Site
	Upstream bool  // list what the old tool lists, no more: see below
	MaxFile  int64 // bytes of the largest file that a listed version has; 0: DefaultMaxFile
	Deltas   DeltaOptions
	Page     *page.Setup  // of the web page; nil: none is made
	Signer   *site.Signer // signs the index and the catalogs; nil: nothing is signed
	DryRun   bool         // only say what would be done
	Safety
}

// DeltaOptions say which deltas are made.
type DeltaOptions struct {
	Off      bool                 // make none; those that are there stay listed
	Disks    inventory.DiskDeltas // which deltas of VM disks are made and listed
	MaxShare float64              // a delta larger than this share of its file is not worth it; 0: DefaultDeltaShare
	Memory   int64                // bytes the xdelta3 processes may take together; 0: half of the machine's
	Retain   inventory.Retention  // only versions that this keeps get a delta; the zero value keeps all
}

func (o DeltaOptions) maxShare() float64 { return cmp.Or(o.MaxShare, DefaultDeltaShare) }

// Build makes the catalogs of the streams and the index of them from what is in the
// tree. Only what is new or has changed is read, and files that would stay as they
// are are not touched. The index lists the streams given and no others. A stream that
// Safety stops stays as it was listed; the error says so when the others are done.
//
// A version is listed if it has metadata and a root file system and does not
// contradict its SHA256SUMS. With Upstream, only lxd.tar.xz counts as metadata and
// only squashfs or qcow2 completes a version, incus.tar.xz gets no fingerprints, VM
// disks of other names are not known, and requirement files are not read: that is
// for comparison with the old tool, since Incus then sees no image at all.
func Build(ctx context.Context, opts BuildOptions) (BuildSummary, error) {
	if err := opts.Deltas.Retain.Check(); err != nil {
		return BuildSummary{}, err
	}
	w, err := opts.Site.open()
	if err != nil {
		return BuildSummary{}, err
	}
	defer w.close()
	l, err := w.files.Lock(opts.DryRun, w.clock)
	if err != nil {
		return BuildSummary{}, err
	}
	defer l.Close()
	b := newBuilder(w, l, opts)
	err = b.run(ctx)
	b.sum.Streams = len(w.Streams)
	return b.sum, err
}

func newBuilder(w *openSite, l *site.Lock, opts BuildOptions) *builder {
	b := &builder{
		openSite: w, opts: opts, start: l.Start, leaving: inventory.ReadLeaving(w.files), record: w.readRecord(),
		xdelta: inventory.NewXdelta(w.files, opts.Deltas.Memory), before: make(map[catalog.Location]bool),
	}
	for _, places := range b.record.Withheld {
		for _, place := range places {
			b.before[place] = true
		}
	}
	return b
}

// A builder is one run of Build.
type builder struct {
	*openSite
	opts    BuildOptions
	start   int64
	leaving inventory.Leaving
	record  buildRecord
	xdelta  *inventory.Xdelta
	streams []*streamBuild
	sum     BuildSummary

	suspect  map[string]FaultKind      // paths of files that a verification found wrong
	noXdelta *inventory.DeltaResult    // the first delta that was missed because there is no xdelta3
	withheld inventory.Withheld        // root file systems of images that are published elsewhere
	before   map[catalog.Location]bool // versions that the last build withheld
	owners   map[string]string         // alias and architecture to product
}

// A streamBuild is what is known of one stream in a run.
type streamBuild struct {
	name     string
	known    *inventory.Cache
	found    *inventory.Scan
	listing  inventory.Listing       // of the catalog as it is
	foreign  []*catalog.InvalidError // products in it that cannot be understood
	products []published
	withheld []catalog.Location // the versions of which nothing is listed
	refused  bool               // its catalog stays as it is
}

// A published is a product with the versions of it that are listed.
type published struct {
	*inventory.FoundProduct
	versions []*inventory.FoundVersion
}

func (b *builder) run(ctx context.Context) error {
	for _, name := range b.Streams {
		s, err := b.scan(ctx, name)
		if err != nil {
			return err
		}
		b.streams = append(b.streams, s)
	}
	if b.upToDate() {
		return b.stay()
	}
	b.readListings()
	if b.suspect != nil {
		b.doubt()
	}
	if b.opts.DryRun {
		return b.preview()
	}
	err := b.process(ctx)
	// What was read is remembered even if it comes to nothing else: a large tree
	// takes long to read.
	err = errors.Join(err, b.saveCaches())
	if err != nil {
		return err
	}
	refused, goOn := b.checkDrops()
	if !goOn {
		return refused
	}
	return problems.Join(b.publish(ctx), refused)
}

// scan loads what is known of a stream and looks for what has changed.
func (b *builder) scan(ctx context.Context, name string) (*streamBuild, error) {
	s := &streamBuild{name: name}
	s.known = inventory.ReadCache(b.files, name, b.opts.Upstream)
	sc := &inventory.Scanner{
		Files: b.files, Stream: name, Upstream: b.opts.Upstream, Workers: b.Workers, Start: b.start,
		Leaving: b.leaving, Known: make(map[catalog.Name]*inventory.FoundProduct),
	}
	for _, p := range s.known.Products {
		sc.Known[p.Location.Product] = p
	}
	var err error
	s.found, err = sc.Scan(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		err = &fs.PathError{Op: "lstat", Path: b.full(name), Err: unix.ENOENT}
	}
	if err != nil {
		return nil, err
	}
	for _, t := range s.found.Lost {
		b.sum.Failed++
		b.fail("Failed to read directory", "path", b.full(t.Path), "error", t.Err)
	}
	for _, t := range s.found.Skipped {
		b.sum.Skipped++
		b.warn("Left out", "path", b.full(t.Path), "error", t.Err)
	}
	return s, nil
}

// upToDate tells whether everything is as the last build left it.
func (b *builder) upToDate() bool {
	if !b.record.Clean || b.record.Options != b.optionsID() || !b.record.Stale.IsZero() && !b.clock().Before(b.record.Stale) {
		return false
	}
	for _, s := range b.streams {
		if b.record.Caches[s.name] != s.known.ID.String() || b.record.Withheld[s.name] == nil || len(s.found.Products) != len(s.known.Products) {
			return false
		}
		for _, p := range s.found.Products {
			if s.found.Fresh[p] {
				return false
			}
		}
	}
	for name, want := range b.record.Files {
		if b.stampText(name) != want {
			return false
		}
	}
	return true
}

// optionsID changes whenever the same tree would be published otherwise.
func (b *builder) optionsID() string {
	signer := ""
	if b.opts.Signer != nil {
		signer = b.opts.Signer.Fingerprint()
	}
	deltas := b.opts.Deltas
	deltas.Memory = 0
	data, err := json.Marshal([]any{inventory.CacheMagic, b.Streams, b.Links, b.NaturalOrder, b.opts.Upstream, b.opts.MaxFile, deltas, b.opts.Page, signer})
	if err != nil {
		panic("internal error: " + err.Error()) // only numbers and strings
	}
	return digest.Sum(data).String()
}

func (b *builder) stampText(name string) string {
	st, err := b.files.Lstat(name)
	if err != nil {
		return ""
	}
	s := site.StampOf(&st)
	return fmt.Sprint(s.Size, s.Mtime, s.Ino)
}

// stay ends a build that has nothing to do. It says again what is wrong.
func (b *builder) stay() error {
	b.sum.Unchanged = true
	touched := false
	for _, s := range b.streams {
		touched = touched || s.found.Touched
		for _, p := range s.found.Products {
			j := &job{builder: b, stream: s, product: p}
			j.report()
			j.flush()
			if p.HasComplete() {
				b.sum.Products++
				b.sum.Versions += len(p.Listed())
			}
		}
	}
	if !touched || b.opts.DryRun {
		return nil
	}
	if err := b.saveCaches(); err != nil {
		return err
	}
	return b.saveRecord()
}

// saveCaches remembers what is known of the streams.
func (b *builder) saveCaches() error {
	for _, s := range b.streams {
		s.known = &inventory.Cache{Upstream: b.opts.Upstream, Products: s.found.Products}
		if err := s.known.Write(b.files, s.name); err != nil {
			return err
		}
	}
	return nil
}

// saveRecord remembers what was published from what.
func (b *builder) saveRecord() error {
	r := buildRecord{Options: b.optionsID(), Caches: map[string]string{}, Files: map[string]string{}, Clean: !b.sum.unclean, Stale: b.record.Stale}
	r.Page, r.Deltas, r.Upstream, r.MaxFile = b.opts.Page, b.opts.Deltas, b.opts.Upstream, b.opts.MaxFile
	r.Withheld = maps.Clone(b.record.Withheld) // a prune of the other streams still needs theirs
	r.Damaged = maps.Clone(b.record.Damaged)
	if r.Withheld == nil {
		r.Withheld = make(map[string][]catalog.Location)
	}
	names := []string{b.catalogs.IndexPath()}
	for _, s := range b.streams {
		if s.refused {
			r.Clean = false
			continue // its catalog was not made of the cache
		}
		r.Caches[s.name] = s.known.ID.String()
		if !b.sum.Unchanged {
			r.Withheld[s.name] = s.withheld
		}
		delete(r.Damaged, s.name)
		names = append(names, b.catalogs.Path(s.name))
	}
	if b.opts.Page != nil {
		for _, name := range append([]string{page.HTML, page.HTML + site.GzipSuffix}, page.Assets...) {
			r.Files[name] = b.stampText(name)
		}
	}
	for _, name := range names {
		for _, suffix := range []string{"", site.GzipSuffix, site.SignatureSuffix} {
			r.Files[name+suffix] = b.stampText(name + suffix)
		}
		r.Files[site.SignedName(name)] = b.stampText(site.SignedName(name))
	}
	return b.files.WriteState(b.recordPath(), r)
}

// readListings finds out what the catalogs list. If they are what the last build
// made of the cache, the cache tells.
func (b *builder) readListings() {
	for _, s := range b.streams {
		name := b.catalogs.Path(s.name)
		if b.record.Caches[s.name] == s.known.ID.String() && b.record.Files[name] == b.stampText(name) {
			s.listing = b.listingOf(s)
			continue
		}
		var err error
		if s.listing, s.foreign, err = b.catalogs.Listing(s.name); err != nil {
			b.warn("Catalog cannot be read and is made anew", "path", b.full(name), "error", err)
		}
	}
}

// listingOf returns what the last build listed of what the cache has: all that is good
// but what it withheld.
func (b *builder) listingOf(s *streamBuild) inventory.Listing {
	l := make(inventory.Listing)
	for _, p := range s.known.Products {
		for _, v := range p.Listed() {
			if place := p.Location.Of(v.Name); !b.before[place] {
				l.Add(place)
			}
		}
	}
	return l
}
