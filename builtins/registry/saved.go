package registry

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"imagebuilder/builtins/magic"
)

// What docker save writes, and tools that write the same: see "Combined Image JSON +
// Filesystem Changeset Format" in the image specification of Docker, version 1.2. Newer
// versions of docker save write an index besides, as a layout has; that is preferred.

// A saved image is what manifest.json says of one: files of the archive, and tags.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string // the lowest first
}

// findSaved is Find in what docker save has written.
func (l *Layout) findSaved(q Query) (Image, error) {
	want, err := q.platform()
	if err != nil {
		return Image{}, err
	}
	data, err := l.read("manifest.json")
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, errors.New("it has neither index.json, as an OCI layout, nor manifest.json, as what docker save writes")
	}
	if err != nil {
		return Image{}, err
	}
	var images []saved
	if err := json.Unmarshal(data, &images); err != nil {
		return Image{}, fmt.Errorf("cannot read its manifest.json: %w", err)
	}
	var others []string
	for _, s := range images {
		if !s.called(q.Name) {
			others = append(others, s.RepoTags...)
			continue
		}
		if data, err = l.read(s.Config); err != nil {
			return Image{}, err
		}
		config, err := readConfig(data)
		if err != nil {
			return Image{}, err
		}
		is := config.Platform()
		if is == nil || !serves(*is, want) {
			others = append(others, fmt.Sprint(is))
			continue
		}
		digest, _, err := v1.SHA256(strings.NewReader(string(data)))
		if err != nil {
			return Image{}, err
		}
		layers, err := l.savedLayers(s, config)
		if err != nil {
			return Image{}, err
		}
		return q.describe(digest, layers, config)
	}
	return Image{}, noneError(q.Name, want, others)
}

// called tells whether an image has a tag; "" is one that all have.
func (s saved) called(tag string) bool {
	return tag == "" || slices.ContainsFunc(s.RepoTags, func(has string) bool { return sameName(has, tag) })
}

// sameName tells whether two references are the same, however either is shortened.
func sameName(a, b string) bool {
	refA, errA := name.ParseReference(a)
	refB, errB := name.ParseReference(b)
	return errA == nil && errB == nil && refA.Name() == refB.Name()
}

// savedLayers are the layers of an image with the digests of their files.
func (l *Layout) savedLayers(s saved, config *v1.ConfigFile) ([]Layer, error) {
	if len(s.Layers) != len(config.RootFS.DiffIDs) {
		return nil, errLayers
	}
	var layers []Layer
	for i, file := range s.Layers {
		layer, err := l.savedLayer(file, config.RootFS.DiffIDs[i])
		if err != nil {
			return nil, fmt.Errorf("cannot read the layer %s: %w", file, err)
		}
		layers = append(layers, layer)
	}
	return layers, nil
}

// savedLayer is a layer in a file. It is to be what the configuration says, so that only one
// that is compressed, which is rare, has to be read for its digest.
func (l *Layout) savedLayer(file string, diffID v1.Hash) (layer Layer, err error) {
	f, err := l.open(file)
	if err != nil {
		return Layer{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := bufio.NewReader(f)
	head, err := r.Peek(magic.Length)
	if err != nil && err != io.EOF {
		return Layer{}, err
	}
	digest := diffID
	if kind := magic.Of(head); kind != magic.Tar && kind != "" {
		if digest, _, err = v1.SHA256(r); err != nil {
			return Layer{}, err
		}
	}
	return Layer{Digest: digest.String(), Size: f.size, File: file}, nil
}
