package streams

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"imagebuilder/streams/catalog"
)

// choose decides what is listed: every good version, but no image twice. A product
// is there as long as it has a complete version, even if none can be listed.
func (b *builder) choose() {
	seen := make(uniqueness)
	b.withheld = make(map[*file]bool)
	for _, s := range b.streams {
		s.withheld = []string{}
		for _, p := range s.found.products {
			if p.hasComplete() {
				s.products = append(s.products, b.published(s, p, seen))
			}
		}
	}
}

// published returns a product with those of its versions that have an image which was
// not seen before.
func (b *builder) published(s *streamBuild, p *product, seen uniqueness) published {
	entry := published{product: p}
	for _, v := range b.ordered(p.listed()) {
		name := path.Join(p.name.Dir(s.name), v.name)
		twins := seen.withhold(name, v)
		for f, twin := range twins {
			b.duplicate(path.Join(name, f.name), twin)
			b.withheld[f] = true
		}
		if len(twins) == v.images() {
			s.withheld = append(s.withheld, name)
			continue
		}
		if b.before[name] && !s.listing[p.name][v.name] {
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

func (b *builder) duplicate(name, twin string) {
	b.sum.Duplicates++
	b.sum.unclean = true
	b.warn("Image is published already", "path", b.full(name), "version", b.full(twin))
}

func (p *product) hasComplete() bool {
	for _, v := range p.versions {
		if v.verdict > incomplete {
			return true
		}
	}
	return false
}

// checkDrops says which versions will not be listed any more, and refuses to go on
// if that is most of a stream: then the tree is rather not there.
func (b *builder) checkDrops() error {
	for _, s := range b.streams {
		now := make(listing)
		for _, p := range s.products {
			for _, v := range p.versions {
				now.add(p.name, v.name)
			}
		}
		dropped := 0
		for _, g := range s.listing.without(now) {
			name := path.Join(g.product.Dir(s.name), g.version)
			if _, leaves := b.leaving[name]; leaves {
				continue // a prune has decided so, and was killed before it could say it
			}
			dropped++
			b.warn("Dropping stale product version from catalog", "path", b.full(name))
		}
		b.sum.Dropped += dropped
		if err := b.opts.Safety.check("drop", dropped, s.listing.count(), s.name); err != nil {
			return err
		}
	}
	return nil
}

// ErrRefused is part of the error of a run that Safety has stopped.
var ErrRefused = errors.New("refusing")

// check refuses to drop or remove too large a share of what a stream has.
func (s Safety) check(do string, gone, all int, stream string) error {
	limit := s.MaxDrop
	if limit == 0 {
		limit = 0.75
	}
	if s.Force || float64(gone) <= limit*float64(all) {
		return nil
	}
	return fmt.Errorf("%w to %s %d of the %d versions of stream %s: is the tree mounted and complete? If it is, use force", ErrRefused, do, gone, all, stream)
}

// warnAliases tells of aliases that several products of an architecture have: which
// of them a client takes depends on how it sorts.
func (b *builder) warnAliases(stream string, c *catalog.Product) {
	if len(c.Versions) == 0 {
		return
	}
	own := c.Name().Dir(stream)
	for alias := range strings.SplitSeq(c.Aliases, ",") {
		key := alias + "/" + c.Arch
		if owner, taken := b.owners[key]; taken {
			b.warn("Alias is used by another product", "alias", key, "product", own, "other", owner)
			continue
		}
		b.owners[key] = own
	}
}
