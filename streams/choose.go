package streams

import (
	"slices"

	"imagebuilder/builtins/problems"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
)

// What is listed is decided between reading and publishing, over all products at once: an
// image is published once on a whole site, and too large a loss stops a stream.

// choose decides what is listed: every good version, but no image twice. A product
// is there as long as it has a complete version, even if none can be listed.
func (b *builder) choose() {
	seen := make(inventory.Uniqueness)
	b.withheld = make(inventory.Withheld)
	for _, s := range b.streams {
		s.withheld = []catalog.Location{}
		for _, p := range s.found.Products {
			if p.HasComplete() {
				s.products = append(s.products, b.published(s, p, seen))
			}
		}
	}
}

// published returns a product with those of its versions that have an image which was
// not seen before.
func (b *builder) published(s *streamBuild, p *inventory.FoundProduct, seen inventory.Uniqueness) published {
	entry := published{FoundProduct: p}
	for _, v := range b.ordered(p.Listed()) {
		place := p.Location.Of(v.Name)
		twins := seen.Withhold(place, v)
		for f, twin := range twins {
			b.duplicate(place.File(f.Name), twin)
			b.withheld.Add(v, f)
		}
		if len(twins) == v.Images() {
			s.withheld = append(s.withheld, place)
			continue
		}
		if b.before[place] && !s.listing.Has(place) {
			j := &job{builder: b, stream: s, product: p}
			j.added(v)
			j.flush()
		}
		entry.versions = append(entry.versions, v)
	}
	b.sum.Products++
	b.sum.Versions += len(entry.versions)
	return entry
}

func (b *builder) duplicate(name string, twin catalog.Location) {
	b.sum.Duplicates++
	b.sum.unclean = true
	b.warn("Image is published already", "path", b.full(name), "version", b.full(twin.Path()))
}

// checkDrops says which versions will not be listed any more. It refuses to go on with
// a stream if most of its versions are gone: then the tree is rather not there. What
// is there, but not good any more, is no sign of that. The errors are joined, for the
// other streams are none the worse for it; if there is none, there is nothing to do.
func (b *builder) checkDrops() (refused error, goOn bool) {
	for _, s := range b.streams {
		dropped := s.listing.Without(s.lists(), s.name)
		dropped = slices.DeleteFunc(dropped, b.leaving.Has) // a prune has decided so, and was killed before it could say it
		gone := 0
		onDisk := s.onDisk()
		for _, place := range dropped {
			if !onDisk.Has(place) {
				gone++
			}
			b.warn("Dropping stale product version from catalog", "path", b.full(place.Path()))
		}
		err := b.checkForeign(b.opts.Safety, s.name, s.foreign, s.has)
		if err == nil {
			err = b.opts.Safety.check("drop", gone, s.listing.Count(), s.name)
		}
		if err != nil {
			s.refused = true
			refused = problems.Join(refused, err)
			continue
		}
		b.sum.Dropped += len(dropped)
		goOn = true
	}
	return refused, goOn
}

// has tells whether a product is in the tree, with all of its versions, so that it is listed
// again.
func (s *streamBuild) has(bad *catalog.InvalidError) bool {
	return slices.ContainsFunc(s.products, func(p published) bool { return p.Location.Product.ID() == bad.Product }) &&
		bad.In(s.onDisk().Versions(bad.Product))
}

// lists returns what is going to be listed.
func (s *streamBuild) lists() inventory.Listing {
	l := make(inventory.Listing)
	for _, p := range s.products {
		for _, v := range p.versions {
			l.Add(p.Location.Of(v.Name))
		}
	}
	return l
}

// onDisk returns what was found, good or not.
func (s *streamBuild) onDisk() inventory.Listing {
	l := make(inventory.Listing)
	for _, p := range s.found.Products {
		for _, v := range p.Versions {
			l.Add(p.Location.Of(v.Name))
		}
	}
	return l
}
