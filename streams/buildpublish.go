package streams

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/page"
	"imagebuilder/streams/site"
)

// This file is the last part of a build: catalogs, index and page are staged and appear
// together. A prune publishes in the same way, with the parts of it that hang on openSite.

// publish makes the catalogs and the index and puts them into place.
func (b *builder) publish(ctx context.Context) (err error) {
	pub, err := site.NewPublication(b.files, b.catalogs.Dir())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pub.Discard()) }()
	index := b.oldIndex()
	entries := make(map[string]catalog.IndexEntry)
	b.owners = make(map[string]string)
	for _, s := range b.streams {
		old, there := index.Entries[s.name]
		if s.refused && there {
			entries[s.name] = old
			continue
		}
		changed := false
		if !s.refused {
			if changed, err = b.stageCatalog(pub, s); err != nil {
				return err
			}
		}
		entries[s.name] = b.entry(s.name, old, changed, s.ids())
	}
	if err := b.checkIndex(b.opts.Safety, index.Entries, entries); err != nil {
		return err
	}
	if err := b.stageIndex(pub, entries, b.opts.Signer); err != nil {
		return err
	}
	b.record.Stale = time.Time{}
	if b.opts.Page == nil && b.record.Page != nil {
		b.warn("Web page is not kept up to date any more", "path", b.full(page.HTML))
	}
	if b.opts.Page != nil {
		b.record.Stale, err = b.stageWebpage(pub, *b.opts.Page, entries)
		if err != nil {
			return err
		}
	}
	b.sum.Published, err = pub.Commit(ctx)
	if err != nil {
		return err
	}
	return b.saveRecord()
}

// ids returns the ids of the products in a stream's catalog, sorted.
func (s *streamBuild) ids() []string {
	if s.refused {
		ids := []string{}
		for name := range s.listing {
			ids = append(ids, name.ID())
		}
		slices.Sort(ids)
		return ids
	}
	ids := make([]string, len(s.products))
	for i, p := range s.products {
		ids[i] = p.Location.Product.ID()
	}
	return ids
}

// stageCatalog stages a stream's catalog with what goes with it.
func (b *builder) stageCatalog(pub *site.Publication, s *streamBuild) (changed bool, err error) {
	a := &inventory.Assembler{Upstream: b.opts.Upstream, Disks: b.opts.Deltas.Disks, Withheld: b.withheld}
	r := &inventory.SettingsReader{Files: b.files, Upstream: b.opts.Upstream}
	return b.stage(pub, s.name+".json", b.opts.Signer, func(out *bufio.Writer) error {
		w := catalog.NewEncoder(out, s.name)
		for _, p := range s.products {
			settings, troubles := r.Read(p.FoundProduct, b.ordered(p.FoundProduct.Versions))
			b.tell(troubles)
			c := a.Product(p.FoundProduct, p.versions, settings)
			b.warnAliases(s.name, c)
			if err := w.Product(p.Location.Product.ID(), c); err != nil {
				return err
			}
		}
		return w.Close()
	})
}

// stage stages a catalog in all of its forms. It tells whether it has changed.
func (w *openSite) stage(pub *site.Publication, name string, signer *site.Signer, fill func(*bufio.Writer) error) (bool, error) {
	changed, err := pub.Stage(name, signer, fill)
	if err == nil {
		err = pub.StageSigned(name, signer, func() ([]byte, error) { return w.lines(pub.Current(name)) })
	}
	return changed, err
}

// lines returns the text of a catalog as it is signed.
func (w *openSite) lines(name string) ([]byte, error) {
	data, err := w.files.ReadFile(name, maxSigned)
	if err != nil {
		return nil, err
	}
	return catalog.Lines(data)
}

// maxSigned bounds what is read of a catalog to be signed as a text.
const maxSigned = 1 << 30

// indexLines returns the text of the index as it is signed: it leads to signed catalogs.
func indexLines(index *catalog.Index) ([]byte, error) {
	var out bytes.Buffer
	if err := index.Signed(site.SignedName).Write(&out); err != nil {
		return nil, err
	}
	return catalog.Lines(out.Bytes())
}

// tell reports configuration that cannot be read.
func (b *builder) tell(troubles []inventory.Trouble) {
	for _, t := range troubles {
		b.sum.Failed++
		b.sum.unclean = true
		b.fail("Failed to read configuration", "path", b.full(t.Path), "error", t.Err)
	}
}

// stageIndex stages the index. It comes last: what it lists is there before it.
func (w *openSite) stageIndex(pub *site.Publication, entries map[string]catalog.IndexEntry, signer *site.Signer) error {
	index := catalog.Index{Format: catalog.FormatIndex, Entries: entries}
	_, err := pub.Stage(inventory.IndexName, signer, func(out *bufio.Writer) error { return index.Write(out) })
	if err == nil {
		err = pub.StageSigned(inventory.IndexName, signer, func() ([]byte, error) { return indexLines(&index) })
	}
	return err
}

// oldIndex returns the index as it is, without entries if it cannot be read.
func (w *openSite) oldIndex() *catalog.Index {
	index, err := w.catalogs.Index()
	if err != nil {
		w.warn("Index cannot be read and is made anew", "path", w.full(w.catalogs.IndexPath()), "error", dirfd.Cause(err))
	}
	return index
}

// entry returns the index's entry of a stream. Its time changes only with what the
// stream has, so that caches stay good.
func (w *openSite) entry(stream string, old catalog.IndexEntry, changed bool, ids []string) catalog.IndexEntry {
	e := catalog.IndexEntry{
		Datatype: catalog.Datatype,
		Path:     w.catalogs.Path(stream),
		Format:   catalog.FormatProducts,
		Updated:  old.Updated,
		Products: ids,
	}
	_, err := time.Parse(time.RFC3339, old.Updated)
	if changed || err != nil || !slices.Equal(old.Products, ids) {
		e.Updated = w.clock().UTC().Format(time.RFC3339)
	}
	return e
}

// foresee counts what a product would have in the catalog, if all is well with what has
// not been read yet.
func (b *builder) foresee(p *inventory.FoundProduct) {
	counts := false
	for _, v := range p.Versions {
		unread := b.wouldRead(v)
		counts = counts || unread || v.Verdict > inventory.Incomplete
		if unread || v.Verdict == inventory.Good {
			b.sum.Versions++
		}
	}
	if counts {
		b.sum.Products++
	}
}

func (b *builder) wouldRead(v *inventory.FoundVersion) bool {
	return v.Verdict == inventory.Unjudged && v.IsComplete(b.opts.Upstream) && b.tooLarge(v) == nil
}

// preview says what a build would do, as far as can be told without reading files.
func (b *builder) preview() error {
	for _, s := range b.streams {
		now := make(inventory.Listing)
		for _, p := range s.found.Products {
			b.foresee(p)
			for _, v := range p.Versions {
				now.Add(p.Location.Of(v.Name))
				if b.wouldRead(v) {
					b.sum.Added++
					b.info("Version would be read", "streamName", s.name, "product", p.Location.Product.ID(), "version", v.Name)
				}
			}
		}
		if err := b.checkForeign(b.opts.Safety, s.name, s.foreign, func(bad *catalog.InvalidError) bool { return bad.In(now.Versions(bad.Product)) }); err != nil {
			return err
		}
		gone := s.listing.Without(now, s.name)
		b.sum.Dropped += len(gone)
		for _, g := range gone {
			b.warn("Version would be dropped from catalog", "path", b.full(g.Path()))
		}
	}
	return nil
}

// warnAliases tells of aliases that several products of an architecture have: which
// of them a client takes depends on how it sorts.
func (b *builder) warnAliases(stream string, c *catalog.Product) {
	if len(c.Versions) == 0 {
		return
	}
	own := c.Name().In(stream).Path()
	for alias := range strings.SplitSeq(c.Aliases, ",") {
		key := alias + "/" + c.Arch
		if owner, taken := b.owners[key]; taken {
			b.warn("Alias is used by another product", "alias", key, "product", own, "other", owner)
			continue
		}
		b.owners[key] = own
	}
}
