package streams

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
)

// What a prune is going to do is decided here without a change to anything, so that a dry
// run and a real one cannot differ.

// A streamPrune is what will become of a stream.
type streamPrune struct {
	name     string
	ids      []string                       // of the products that stay
	products map[catalog.Name]*productPrune // those in the catalog
	leaves   []inventory.Removable          // what leaves the catalog now
	strays   []inventory.Removable          // deltas that are not listed, and were not before
	back     []inventory.Removable          // what was to be removed and is listed again
	temps    []string                       // paths of unfinished files of a run that was killed
	dangling []catalog.Location             // what the catalog does not know
	found    map[string]bool                // fingerprints that were asked for
	foreign  []*catalog.InvalidError        // products of it that cannot be trusted, and are dropped
}

// A productPrune says which versions of a product stay listed and which do not.
type productPrune struct{ stays, gone map[string]bool }

// plan decides about all of a stream without changing anything, and writes the
// catalog as it is going to be.
func (p *pruner) plan(ctx context.Context, stream string, out io.Writer) error {
	s := &streamPrune{name: stream, products: make(map[catalog.Name]*productPrune), found: make(map[string]bool)}
	p.streams = append(p.streams, s)
	w := catalog.NewEncoder(out, stream)
	vanished, all := 0, 0 // versions; what cannot be trusted is lost to the catalog as well
	err := p.catalogs.Each(stream, func(id string, c *catalog.Product) error {
		all += len(c.Versions)
		plan := new(productPrune)
		s.products[c.Name()] = plan
		vanished += p.planProduct(s, plan, c)
		if err := context.Cause(ctx); err != nil || !plan.apply(c) {
			return err
		}
		s.ids = append(s.ids, id)
		return w.Product(id, c)
	}, func(bad *catalog.InvalidError) {
		s.foreign = append(s.foreign, bad)
		all += len(bad.Versions)
		vanished += len(bad.Versions)
	})
	err = p.catalogs.Unbuilt(p.catalogs.Path(stream), err)
	if err == nil {
		err = p.dropForeign(s)
	}
	if err == nil {
		err = p.opts.Safety.check("drop", vanished, all, stream)
	}
	if err == nil && p.opts.Dangling {
		err = p.planDangling(ctx, s)
	}
	return errors.Join(err, w.Close())
}

// dropForeign says which products cannot be trusted and are dropped, if they may be.
func (p *pruner) dropForeign(s *streamPrune) error {
	inTree := func(bad *catalog.InvalidError) bool {
		name, err := catalog.ParseName(bad.Product)
		if err != nil {
			return false
		}
		there, err := p.versionsIn(name.In(s.name).Path())
		return err != nil || len(there) > 0 && bad.In(there) // what cannot be read may be there
	}
	if err := p.checkForeign(p.opts.Safety, s.name, s.foreign, inTree); err != nil {
		return err
	}
	for _, bad := range s.foreign {
		p.sum.Failed++
		p.fail("Product cannot be trusted and is dropped from the catalog", "streamName", s.name, "product", bad.Product, "error", bad.Err)
	}
	return nil
}

// planProduct decides about one product. It returns how many of its versions have
// vanished.
func (p *pruner) planProduct(s *streamPrune, plan *productPrune, c *catalog.Product) (vanished int) {
	product := c.Name().In(s.name)
	plan.stays, plan.gone = make(map[string]bool), make(map[string]bool)
	meant := make(map[string]bool)
	for name, v := range c.Versions {
		meant[name] = s.meant(v, p.opts.Remove)
	}
	there, err := p.versionsIn(product.Path())
	if err != nil {
		p.trouble(product.Path(), err)
		for name := range c.Versions {
			plan.stays[name] = true // until it can be told
		}
		return 0
	}
	var present []string // newest first
	for name := range c.Versions {
		if there[name] {
			present = append(present, name)
			continue
		}
		plan.gone[name] = true
		vanished++
	}
	for name := range inventory.Sorted(plan.gone) {
		p.sum.Vanished++
		p.warn("Dropping stale product version from catalog", "path", p.full(product.Of(name).Path()))
	}
	slices.SortFunc(present, func(a, b string) int { return inventory.CompareVersions(b, a, p.NaturalOrder) })
	p.retain(s, plan, c, present, meant)
	for name := range inventory.Sorted(plan.stays) {
		p.planDeltas(s, product.Of(name), c.Versions[name], plan)
	}
	return vanished
}

// retain decides which of the versions that are there stay; those that are meant go.
func (p *pruner) retain(s *streamPrune, plan *productPrune, c *catalog.Product, present []string, meant map[string]bool) {
	kept := p.opts.Retain.Keep(len(present), p.now, func(i int) time.Time { return p.born(c, present[i]) })
	for i, version := range present {
		place := c.Name().In(s.name).Of(version)
		if kept[i] && !meant[version] {
			plan.stays[version] = true
			p.comesBack(s, inventory.Removable{Location: place})
			continue
		}
		plan.gone[version] = true
		s.leaves = append(s.leaves, inventory.Removable{Location: place})
		p.sum.Dropped++
		if p.opts.Grace >= 0 { // or else its removal is said in a moment
			p.info("Dropping old product version from catalog", "path", p.full(place.Path()))
		}
	}
}

func (p *pruner) comesBack(s *streamPrune, r inventory.Removable) {
	if _, ok := p.leaving[r]; ok {
		s.back = append(s.back, r)
	}
}

// planDeltas finds the delta files of a version that will not be listed.
func (p *pruner) planDeltas(s *streamPrune, place catalog.Location, v catalog.Version, plan *productPrune) {
	listed := make(map[string]bool) // file name to whether it stays so
	for _, item := range v.Items {
		stays := item.DeltaBase == "" || plan.stays[item.DeltaBase]
		listed[item.File()] = stays
		delta := inventory.Removable{Location: place, Delta: item.File()}
		if !stays {
			s.leaves = append(s.leaves, delta)
		} else if item.DeltaBase != "" {
			p.comesBack(s, delta)
		}
	}
	entries, err := p.files.List(place.Path())
	if err != nil {
		p.trouble(place.Path(), err)
		return
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if unfinished(e.Name()) {
			s.temps = append(s.temps, place.File(e.Name()))
		}
		if _, known := listed[e.Name()]; known {
			continue
		}
		if r := (inventory.Removable{Location: place, Delta: e.Name()}); r.Allowed() {
			s.strays = append(s.strays, r)
		}
	}
}

// unfinished tells whether a file's name is a temporary one of this tool's. While
// the tree is locked, none is in use.
func unfinished(name string) bool {
	return name == dirfd.TempName(inventory.SumsName) ||
		strings.HasPrefix(name, ".") && strings.HasSuffix(name, catalog.DeltaSuffix+dirfd.TempSuffix)
}

// versionsIn returns the names of the directories in a product's directory. That
// it is not there is no error, but that it cannot be read is.
func (p *pruner) versionsIn(dir string) (map[string]bool, error) {
	entries, err := p.files.List(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	there := make(map[string]bool, len(entries))
	for _, e := range entries {
		there[e.Name()] = e.IsDir() || p.Links && e.Type() == fs.ModeSymlink
	}
	return there, nil
}

// born returns the time a version was made, as that of a FoundVersion is.
func (p *pruner) born(c *catalog.Product, name string) time.Time {
	if t, ok := catalog.Time(name); ok {
		return t
	}
	for _, ftype := range []string{catalog.LXDMeta, catalog.IncusMeta} { // not in the order of a map
		for _, item := range c.Versions[name].Items {
			if item.FType != ftype {
				continue
			}
			if st, err := p.files.Lstat(item.Path); err == nil {
				return time.Unix(0, st.Mtim.Nano())
			}
		}
	}
	return p.now // it cannot be told, so it is not old
}

// meant tells whether a version has one of the images that are to be removed.
func (s *streamPrune) meant(v catalog.Version, prefixes []string) bool {
	meant := false
	for _, image := range v.Images() {
		for _, prefix := range prefixes {
			if strings.HasPrefix(image.Fingerprint, prefix) {
				s.found[image.Fingerprint] = true
				meant = true
			}
		}
	}
	return meant
}

// checkRemoved makes sure that each fingerprint means one image.
func (p *pruner) checkRemoved() error {
	for _, prefix := range p.opts.Remove {
		n := 0
		for _, s := range p.streams {
			for fingerprint := range s.found {
				if strings.HasPrefix(fingerprint, prefix) {
					n++
				}
			}
		}
		if n != 1 {
			return fmt.Errorf("%d images have a fingerprint that starts with %q, not one", n, prefix)
		}
	}
	return nil
}

// apply takes out of a product what goes. It tells whether the product stays: one
// that had nothing to lose does.
func (p *productPrune) apply(c *catalog.Product) bool {
	before := len(c.Versions)
	for name := range p.gone {
		delete(c.Versions, name)
	}
	for _, v := range c.Versions {
		for key, item := range v.Items {
			if item.DeltaBase != "" && !p.stays[item.DeltaBase] {
				delete(v.Items, key)
			}
		}
	}
	return len(c.Versions) > 0 || before == 0
}
