package streams

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
)

// List reads the catalogs as clients do: what it shows is what they see, or pass over, not what
// is there.

// ListOptions say what List lists.
type ListOptions struct {
	Site // Streams nil: all that the index lists
}

// A ListedImage is one that clients see, unless it says why they do not.
type ListedImage struct {
	Fingerprint  string            `json:"fingerprint" yaml:"fingerprint"`
	Description  string            `json:"description" yaml:"description"`
	OS           string            `json:"os" yaml:"os"`
	Release      string            `json:"release" yaml:"release"`
	Variant      string            `json:"variant" yaml:"variant"`
	Architecture string            `json:"architecture" yaml:"architecture"`
	Type         string            `json:"type" yaml:"type"` // container or virtual-machine
	Created      time.Time         `json:"created,omitzero" yaml:"created,omitempty"`
	Size         int64             `json:"size" yaml:"size"` // metadata and root file system, in bytes
	Stream       string            `json:"stream" yaml:"stream"`
	Product      string            `json:"product" yaml:"product"`
	Version      string            `json:"version" yaml:"version"`
	Aliases      []string          `json:"aliases" yaml:"aliases"` // of the product; they mean its newest version
	Requirements map[string]string `json:"requirements" yaml:"requirements"`
	Clients      []string          `json:"clients" yaml:"clients"`                             // that see it: incus, lxd
	PassedOver   string            `json:"passed_over,omitempty" yaml:"passed_over,omitempty"` // why no client sees it
	Path         string            `json:"path" yaml:"path"`                                   // directory of the version, from the root
}

// List returns the images of the catalogs: by stream and product, the newest version
// first.
func List(ctx context.Context, opts ListOptions) ([]ListedImage, error) {
	w, err := opts.Site.open()
	if err != nil {
		return nil, err
	}
	defer w.close()
	paths, err := w.seenCatalogs(opts.Streams)
	if err != nil {
		return nil, err
	}
	var images []ListedImage
	for stream, file := range inventory.Sorted(paths) {
		err := w.catalogs.Seen(file, stream, func(id string, c *catalog.Product) error {
			names := slices.SortedFunc(maps.Keys(c.Versions), func(a, b string) int { return inventory.CompareVersions(b, a, w.NaturalOrder) })
			for _, name := range names {
				images = append(images, imagesOf(stream, id, c, name)...)
			}
			return context.Cause(ctx)
		}, func(bad *catalog.InvalidError) {
			w.warn("Product cannot be trusted and is left out", "streamName", stream, "product", bad.Product, "error", bad.Err)
		})
		if err != nil {
			return nil, w.catalogs.Unbuilt(file, err)
		}
	}
	return images, nil
}

// seenCatalogs returns the paths of the catalogs of the streams, or of all that clients find
// in the index, by stream. Without an index it is the default one.
func (w *openSite) seenCatalogs(streams []string) (map[string]string, error) {
	paths := make(map[string]string)
	for _, name := range streams {
		paths[name] = w.catalogs.Path(name)
	}
	if len(streams) > 0 {
		return paths, nil
	}
	index, err := w.catalogs.Index()
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", w.full(w.catalogs.IndexPath()), dirfd.Cause(err))
	}
	for name, entry := range index.Entries {
		if entry.Datatype == catalog.Datatype && len(entry.Products) > 0 && fs.ValidPath(entry.Path) {
			paths[name] = entry.Path
		}
	}
	if index.Entries == nil {
		paths[DefaultStream] = w.catalogs.Path(DefaultStream)
	}
	return paths, nil
}

// imagesOf returns the images of one version. Where LXD and Incus see the same one
// it is there once.
func imagesOf(stream, id string, c *catalog.Product, version string) []ListedImage {
	v := c.Versions[version]
	why := c.PassedOver(version)
	var images []ListedImage
	for _, pair := range v.Images() {
		meta, root := v.Items[pair.Meta], v.Items[pair.Root]
		client := "lxd"
		if meta.FType == catalog.IncusMeta || meta.FType == catalog.IncusUnified {
			client = "incus"
		}
		size := meta.Size
		if pair.Root != pair.Meta {
			size += root.Size
		}
		same := func(i ListedImage) bool { return i.Fingerprint == pair.Fingerprint }
		if i := slices.IndexFunc(images, same); i >= 0 {
			images[i].Clients = append(images[i].Clients, client)
			slices.Sort(images[i].Clients)
			continue
		}
		image := ListedImage{
			Fingerprint:  pair.Fingerprint,
			Description:  fmt.Sprintf("%s %s %s (%s)", c.OS, c.Release, c.Arch, version),
			OS:           c.OS,
			Release:      c.Release,
			Variant:      c.Variant,
			Architecture: c.Arch,
			Type:         "container",
			Size:         size,
			Stream:       stream,
			Product:      id,
			Version:      version,
			Aliases:      strings.Split(c.Aliases, ","),
			Requirements: c.Requirements,
			Clients:      []string{client},
			PassedOver:   why,
			Path:         c.Dir(stream, version),
		}
		image.Created, _ = catalog.Time(version)
		if pair.VM {
			image.Type = "virtual-machine"
		}
		images = append(images, image)
	}
	if why != "" {
		for i := range images {
			images[i].Clients = []string{}
		}
	}
	return images
}
