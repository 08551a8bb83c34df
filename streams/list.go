package streams

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
)

// List reads the catalogs as clients do: what it shows is what they see, not what is there.

// ListOptions say what List lists.
type ListOptions struct {
	Site // Streams nil: all that the index lists
}

// A ListedImage is one that clients see.
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
	Clients      []string          `json:"clients" yaml:"clients"` // that see it: incus, lxd
	Path         string            `json:"path" yaml:"path"`       // directory of the version, from the root
}

// List returns the images of the catalogs: by stream and product, the newest version
// first.
func List(ctx context.Context, opts ListOptions) ([]ListedImage, error) {
	w, err := opts.Site.open()
	if err != nil {
		return nil, err
	}
	defer w.close()
	if opts.Streams == nil {
		w.Streams = w.allStreams()
	}
	var images []ListedImage
	for _, stream := range w.Streams {
		err := w.catalogs.Each(stream, func(id string, c *catalog.Product) error {
			names := slices.SortedFunc(maps.Keys(c.Versions), func(a, b string) int { return inventory.CompareVersions(b, a, w.NaturalOrder) })
			for _, name := range names {
				images = append(images, imagesOf(stream, id, c, name)...)
			}
			return context.Cause(ctx)
		}, func(bad *catalog.InvalidError) {
			w.warn("Product cannot be trusted and is left out", "streamName", stream, "product", bad.Product, "error", bad.Err)
		})
		if err != nil {
			return nil, w.catalogs.Unbuilt(stream, err)
		}
	}
	return images, nil
}

// imagesOf returns the images of one version. Where LXD and Incus see the same one
// it is there once.
func imagesOf(stream, id string, c *catalog.Product, version string) []ListedImage {
	v := c.Versions[version]
	var images []ListedImage
	for _, pair := range v.Images() {
		meta, root := v.Items[pair.Meta], v.Items[pair.Root]
		client := "lxd"
		if meta.FType == catalog.IncusMeta {
			client = "incus"
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
			Size:         meta.Size + root.Size,
			Stream:       stream,
			Product:      id,
			Version:      version,
			Aliases:      strings.Split(c.Aliases, ","),
			Requirements: c.Requirements,
			Clients:      []string{client},
			Path:         c.Name().In(stream).Of(version).Path(),
		}
		image.Created, _ = catalog.Time(version)
		if pair.VM {
			image.Type = "virtual-machine"
		}
		images = append(images, image)
	}
	return images
}
