// Package registry finds container images, in registries and in OCI layouts, and opens their
// layers. What an image is put into, and where its blobs are kept, is no concern of this
// package. See the image and distribution specifications of the Open Container Initiative.
package registry

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A Query says which image is meant.
type Query struct {
	Reference string // in a registry: [HOST[:PORT]/]PATH[:TAG][@DIGEST]
	Name      string // in a layout: that of its annotation, or a tag of docker save; "": the first for the platform
	Platform  string // "linux/arm64", "linux/arm/v7"
}

// An Image is what a query has found.
type Image struct {
	Digest   string  `json:"digest"` // of the manifest, or of the configuration where there is none
	Platform string  `json:"platform"`
	Pinned   bool    `json:"pinned,omitempty"` // the query names a digest
	Layers   []Layer `json:"layers"`           // the lowest first
}

// A Layer is an archive, compressed or not.
type Layer struct {
	Digest string `json:"digest"` // of the blob
	DiffID string `json:"diff_id"`
	Size   int64  `json:"size"`           // of the blob
	File   string `json:"file,omitempty"` // that has the blob in what docker save writes

	// Elsewhere is a URL of a layer that registries and layouts are not meant to have, such as
	// one that must not be passed on; most do not.
	Elsewhere string `json:"elsewhere,omitempty"`
}

// SHA256 is the digest of the blob in hexadecimal. Blobs are known by no other.
func (l Layer) SHA256() (string, error) {
	text, ok := strings.CutPrefix(l.Digest, "sha256:")
	if sum, err := hex.DecodeString(text); !ok || err != nil || len(sum) != sha256.Size {
		return "", fmt.Errorf("it has the digest %q, which is no SHA-256", l.Digest)
	}
	return text, nil
}

// Check finds what is wrong with a query of a registry without asking anybody.
func (q Query) Check() error {
	if _, err := q.platform(); err != nil {
		return err
	}
	_, err := q.reference()
	return err
}

func (q Query) platform() (v1.Platform, error) {
	p, err := v1.ParsePlatform(q.Platform)
	if err != nil || p.OS == "" || p.Architecture == "" {
		return v1.Platform{}, fmt.Errorf("not a platform such as linux/amd64: %q", q.Platform)
	}
	return *p, nil
}

func (q Query) reference() (name.Reference, error) {
	ref, err := name.ParseReference(strings.TrimPrefix(q.Reference, "docker://"), name.WithDefaultRegistry(base()))
	if err != nil {
		return nil, fmt.Errorf("not the reference of an image: %q", q.Reference)
	}
	return ref, nil
}

// tries is how often an image is asked for whose description is cut short.
const tries = 3

// Find returns the image that is meant. The transport has tried again what was not answered;
// that an answer ends before its end is only seen by who reads it.
func (c Client) Find(ctx context.Context, q Query) (Image, error) {
	for try := 1; ; try++ {
		image, err := c.find(ctx, q)
		cut := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
		if !cut || try == tries || context.Cause(ctx) != nil {
			return image, err
		}
	}
}

func (c Client) find(ctx context.Context, q Query) (Image, error) {
	image, err := c.image(ctx, q)
	if err != nil {
		return Image{}, err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return Image{}, err
	}
	digest, err := image.Digest()
	if err != nil {
		return Image{}, err
	}
	layers := layersOf(manifest)
	for n, l := range layers {
		if _, err := l.SHA256(); err != nil {
			return Image{}, fmt.Errorf("cannot take its layer %d: %w", n+1, err)
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return Image{}, fmt.Errorf("cannot read its configuration: %w", err)
	}
	found, err := q.describe(digest, layers, config)
	if ref, rerr := q.reference(); rerr == nil {
		_, found.Pinned = ref.(name.Digest)
	}
	return found, err
}

// layersOf are the layers that a manifest lists.
func layersOf(manifest *v1.Manifest) (layers []Layer) {
	for _, l := range manifest.Layers {
		layer := Layer{Digest: l.Digest.String(), Size: l.Size}
		if !l.MediaType.IsDistributable() {
			layer.Elsewhere = cmp.Or(strings.Join(l.URLs, " "), "a place that its manifest does not say")
		}
		layers = append(layers, layer)
	}
	return layers
}

var errLayers = errors.New("its manifest and its configuration have different layers")

// describe says what is known of an image, and that it is for the platform.
func (q Query) describe(digest v1.Hash, layers []Layer, config *v1.ConfigFile) (Image, error) {
	want, err := q.platform()
	if err != nil {
		return Image{}, err
	}
	is := config.Platform()
	if is == nil || !serves(*is, want) {
		return Image{}, fmt.Errorf("it is for %v, not for %s", is, q.Platform)
	}
	if len(config.RootFS.DiffIDs) != len(layers) {
		return Image{}, errLayers
	}
	for i, id := range config.RootFS.DiffIDs {
		layers[i].DiffID = id.String()
	}
	return Image{Digest: digest.String(), Platform: is.String(), Layers: layers}, nil
}

func (c Client) image(ctx context.Context, q Query) (v1.Image, error) {
	ref, err := q.reference()
	if err != nil {
		return nil, err
	}
	platform, err := q.platform()
	if err != nil {
		return nil, err
	}
	found, err := remote.Get(ref, append(c.options(ctx), remote.WithPlatform(platform))...)
	if err != nil {
		return nil, err
	}
	switch {
	case found.MediaType == types.DockerManifestSchema1 || found.MediaType == types.DockerManifestSchema1Signed:
		return nil, errors.New("its manifest is of schema 1, which registries have given up; push the image anew")
	case !found.MediaType.IsIndex():
		return found.Image()
	}
	index, err := found.ImageIndex()
	if err != nil {
		return nil, err
	}
	for range maxNesting {
		manifest, err := index.IndexManifest()
		if err != nil {
			return nil, fmt.Errorf("cannot read its index: %w", err)
		}
		d, err := choose(manifest.Manifests, platform, "")
		if err != nil {
			return nil, err
		}
		if !d.MediaType.IsIndex() {
			return index.Image(d.Digest)
		}
		if index, err = index.ImageIndex(d.Digest); err != nil {
			return nil, err
		}
	}
	return nil, errNested
}

// maxNesting is how many indexes may lie in each other.
const maxNesting = 4

var errNested = errors.New("its indexes lie in each other without end")

// choose returns the first image of an index that has the name, if one is given, and is for
// the platform.
func choose(list []v1.Descriptor, want v1.Platform, title string) (v1.Descriptor, error) {
	var others []string
	for _, d := range list {
		has := d.Annotations["org.opencontainers.image.ref.name"]
		switch {
		case title != "" && has != title && !sameName(d.Annotations["io.containerd.image.name"], title): // docker save writes the latter
			others = append(others, fmt.Sprintf("%q", has))
		case d.Platform == nil || serves(*d.Platform, want):
			return d, nil
		case d.Platform.OS != "unknown": // such as an attestation
			others = append(others, d.Platform.String())
		}
	}
	return v1.Descriptor{}, noneError(title, want, others)
}

func noneError(title string, want v1.Platform, others []string) error {
	return fmt.Errorf("there is no image for %s; there are: %s", cmp.Or(title, want.String()), strings.Join(others, ", "))
}

// serves tells whether an image for one platform runs on another: a variant counts only for
// ARM of 32 bits, where a machine runs programs for older ones.
func serves(has, want v1.Platform) bool {
	if has.OS != want.OS || has.Architecture != want.Architecture {
		return false
	}
	return want.Architecture != "arm" || want.Variant == "" || has.Variant == "" || has.Variant <= want.Variant
}
