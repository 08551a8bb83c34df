package streams

import (
	"bufio"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/page"
	"imagebuilder/streams/site"
)

// The page is made of the catalogs as they are going to be, so that it never shows what clients
// do not see. How it looks is the matter of package page.

// stageWebpage stages the page of all streams of the index, made of the catalogs as
// they are going to be. A stream without a catalog has nothing to show. It returns when
// the page changes by itself.
func (w *openSite) stageWebpage(pub *site.Publication, opts page.Setup, entries map[string]catalog.IndexEntry) (time.Time, error) {
	var streams []page.Stream
	var updated time.Time
	for name, entry := range inventory.Sorted(entries) {
		products, err := w.pageProducts(pub, name)
		if errors.Is(err, fs.ErrNotExist) {
			w.warn("Stream is left off the web page", "path", w.full(w.catalogs.Path(name)), "error", err)
			continue
		}
		if err != nil {
			return time.Time{}, err
		}
		streams = append(streams, page.Stream{Name: name, Products: products})
		if t, err := time.Parse(time.RFC3339, entry.Updated); err == nil && t.After(updated) {
			updated = t
		}
	}
	now := w.clock()
	for _, asset := range page.Assets {
		err := pub.StagePage(asset, func(out *bufio.Writer) error { _, err := out.Write(page.Asset(asset)); return err })
		if err != nil {
			return time.Time{}, err
		}
	}
	err := pub.StageZippedPage(page.HTML, func(out *bufio.Writer) error {
		return page.Render(out, opts, streams, updated, now)
	})
	return page.Stale(opts, streams, now), err
}

// pageProducts returns what the page says of a stream.
func (w *openSite) pageProducts(pub *site.Publication, stream string) (products []page.Card, err error) {
	err = inventory.EachProduct(w.files, pub.Current(stream+".json"), stream, func(id string, c *catalog.Product) error {
		if len(c.Versions) > 0 {
			products = append(products, w.pageProduct(stream, id, c))
		}
		return nil
	}, nil)
	return products, err
}

func (w *openSite) pageProduct(stream, id string, c *catalog.Product) page.Card {
	p := page.Card{
		ID: id, OS: c.OS, Release: c.Release, Arch: c.Arch, Variant: c.Variant, Aliases: strings.Split(c.Aliases, ","),
	}
	for key, value := range inventory.Sorted(c.Requirements) {
		p.Requirements = append(p.Requirements, page.Demand{Key: key, Value: value})
	}
	names := slices.SortedFunc(maps.Keys(c.Versions), func(a, b string) int { return inventory.CompareVersions(b, a, w.NaturalOrder) })
	for _, name := range names {
		p.Versions = append(p.Versions, w.pageVersion(c.Name().In(stream).Of(name), c.Versions[name]))
	}
	return p
}

func (w *openSite) pageVersion(place catalog.Location, v catalog.Version) page.Row {
	out := page.Row{Name: place.Version, Container: map[string]string{}, VM: map[string]string{}}
	out.Built, _ = catalog.Time(place.Version)
	for _, image := range v.Images() {
		client := "lxc"
		if v.Items[image.Meta].FType == catalog.IncusMeta {
			client = "incus"
		}
		prints, size := out.Container, &out.ContainerSize
		if image.VM {
			prints, size = out.VM, &out.VMSize
		}
		if len(prints) == 0 {
			*size = v.Items[image.Meta].Size + v.Items[image.Root].Size
		}
		if prints[client] == "" { // the first is the one clients prefer
			prints[client] = image.Fingerprint
		}
	}
	out.Files = w.pageFiles(place, v)
	return out
}

// pageFiles returns the files of a version: those that are listed, and others that
// are there to be looked at, such as logs.
func (w *openSite) pageFiles(place catalog.Location, v catalog.Version) []page.Download {
	sizes := make(map[string]int64)
	for _, item := range v.Items {
		sizes[item.File()] = item.Size
	}
	entries, _ := w.files.List(place.Path()) // what cannot be read is not shown
	for _, e := range entries {
		_, listed := sizes[e.Name()]
		if listed || strings.HasPrefix(e.Name(), ".") || e.Type() != 0 || inventory.Classify(e.Name(), false) == inventory.Delta {
			continue
		}
		if st, err := w.files.Lstat(place.File(e.Name())); err == nil {
			sizes[e.Name()] = st.Size
		}
	}
	var files []page.Download
	for name, size := range inventory.Sorted(sizes) {
		files = append(files, page.Download{Name: name, Path: place.File(name), Size: size})
	}
	return files
}
