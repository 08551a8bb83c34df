package streams

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"time"

	"imagebuilder/streams/catalog"
	"imagebuilder/streams/page"
)

const indexName = "index.json"

// publish makes the catalogs and the index and puts them into place.
func (b *builder) publish(ctx context.Context) (err error) {
	pub, err := newPublication(b.site, b.metaDir())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pub.discard()) }()
	index := b.oldIndex()
	entries := make(map[string]catalog.Entry)
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
	b.sum.Published, err = pub.commit(ctx)
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
		ids[i] = p.name.ID()
	}
	return ids
}

// stageCatalog stages a stream's catalog with what goes with it.
func (b *builder) stageCatalog(pub *publication, s *streamBuild) (changed bool, err error) {
	a := &assembler{stream: s.name, upstream: b.opts.Upstream, disks: b.opts.Deltas.Disks, withheld: b.withheld}
	r := &settingsReader{site: b.site, stream: s.name, upstream: b.opts.Upstream}
	return b.stageAll(pub, s.name+".json", b.opts.Signer, func(out *bufio.Writer) error {
		w := catalog.NewWriter(out, s.name)
		for _, p := range s.products {
			settings, troubles := r.read(p.product, b.ordered(p.product.versions))
			b.tell(troubles)
			c := a.product(p.product, p.versions, settings)
			b.warnAliases(s.name, c)
			if err := w.Product(p.name.ID(), c); err != nil {
				return err
			}
		}
		return w.Close()
	})
}

// tell reports configuration that cannot be read.
func (b *builder) tell(troubles []trouble) {
	for _, t := range troubles {
		b.sum.Failed++
		b.sum.unclean = true
		b.fail("Failed to read configuration", "path", b.full(t.path), "error", t.err)
	}
}

// stageAll stages a file, its compressed form and its signature.
func (w *work) stageAll(pub *publication, name string, signer *Signer, fill func(*bufio.Writer) error) (bool, error) {
	changed, err := pub.stage(name, fill)
	if err == nil {
		err = pub.stageGzip(name)
	}
	if err == nil {
		err = pub.stageSignature(name, signer)
	}
	return changed, err
}

// stageIndex stages the index. It comes last: what it lists is there before it.
func (w *work) stageIndex(pub *publication, entries map[string]catalog.Entry, signer *Signer) error {
	index := catalog.Index{Format: catalog.FormatIndex, Entries: entries}
	_, err := w.stageAll(pub, indexName, signer, func(out *bufio.Writer) error { return index.Write(out) })
	return err
}

// oldIndex returns the index as it is, without entries if it cannot be read.
func (w *work) oldIndex() *catalog.Index {
	index, err := w.readIndex()
	if err != nil {
		w.warn("Index cannot be read and is made anew", "path", w.full(w.indexPath()), "error", cause(err))
	}
	return index
}

func (w *work) indexPath() string { return path.Join(w.metaDir(), indexName) }

// readIndex returns the index as it is, without entries if there is none.
func (w *work) readIndex() (*catalog.Index, error) {
	f, err := w.site.open(w.indexPath())
	if errors.Is(err, fs.ErrNotExist) {
		return new(catalog.Index), nil
	}
	if err != nil {
		return new(catalog.Index), err
	}
	defer f.Close()
	index, err := catalog.ReadIndex(f)
	if err != nil {
		return new(catalog.Index), pathError("read", w.indexPath(), err)
	}
	return index, nil
}

// entry returns the index's entry of a stream. Its time changes only with what the
// stream has, so that caches stay good.
func (w *work) entry(stream string, old catalog.Entry, changed bool, ids []string) catalog.Entry {
	e := catalog.Entry{
		Datatype: catalog.Datatype,
		Path:     w.catalogPath(stream),
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
func (b *builder) foresee(p *product) {
	counts := false
	for _, v := range p.versions {
		unread := v.verdict == unjudged && v.isComplete(b.opts.Upstream)
		counts = counts || unread || v.verdict > incomplete
		if unread || v.verdict == good {
			b.sum.Versions++
		}
	}
	if counts {
		b.sum.Products++
	}
}

// preview says what a build would do, as far as can be told without reading files.
func (b *builder) preview() error {
	for _, s := range b.streams {
		now := make(listing)
		for _, p := range s.found.products {
			b.foresee(p)
			for _, v := range p.versions {
				now.add(p.name, v.name)
				if v.verdict == unjudged && v.isComplete(b.opts.Upstream) {
					b.sum.Added++
					b.info("Version would be read", "streamName", s.name, "product", p.name.ID(), "version", v.name)
				}
			}
		}
		gone := s.listing.without(now)
		b.sum.Dropped += len(gone)
		for _, g := range gone {
			b.warn("Version would be dropped from catalog", "path", b.full(g.dir(s.name)))
		}
	}
	return nil
}
