package pack

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A root file system as a container image: an archive with an OCI layout, of one layer. Podman,
// skopeo and containerd read that; what Docker wants besides is a list of its own.

// ContainerConfig is what a container image says of itself.
type ContainerConfig struct {
	Name        string            `json:"name,omitempty"` // its reference, "registry.example/worker:1"; "": it has none
	Platform    string            `json:"platform"`       // "linux/amd64"
	Entrypoint  []string          `json:"entrypoint,omitempty"`
	Command     []string          `json:"command,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
	User        string            `json:"user,omitempty"`
	Directory   string            `json:"directory,omitempty"` // in which the command starts
}

// Check finds what is wrong with it.
func (o ContainerConfig) Check() error {
	if p, err := v1.ParsePlatform(o.Platform); err != nil || p.OS == "" || p.Architecture == "" {
		return fmt.Errorf("not a platform such as linux/amd64: %q", o.Platform)
	}
	if o.Name == "" {
		return nil
	}
	if _, err := name.NewTag(o.Name); err != nil {
		return fmt.Errorf("not the name of an image, such as registry.example/worker:1: %q", o.Name)
	}
	return nil
}

// reference is the name with a tag, without which Docker does not take it.
func (o ContainerConfig) reference() string {
	if strings.Contains(path.Base(o.Name), ":") {
		return o.Name
	}
	return o.Name + ":latest"
}

// layerTypes are those of layers by the method that compresses them.
var layerTypes = map[string]types.MediaType{"none": types.OCIUncompressedLayer, "gzip": types.OCILayer, "zstd": types.OCILayerZStd}

// CheckLayer finds what is wrong with compressing the layer of a container image like this.
func (c Compression) CheckLayer() error {
	if _, ok := layerTypes[c.Method]; !ok {
		return fmt.Errorf("the compression %s cannot be used for a container image, which knows %v", c.Method, slices.Sorted(maps.Keys(layerTypes)))
	}
	return c.CheckTar()
}

// Container packs the root file system as a container image.
func (j Job) Container(ctx context.Context, c Compression, o ContainerConfig, created time.Time) error {
	layer := j
	layer.Name = plainArchive
	defer os.Remove(filepath.Join(j.Dir, layer.Name))
	if err := layer.Tar(ctx, Compression{Method: "none", Level: -1}); err != nil {
		return err
	}
	plain, err := describeBlob(filepath.Join(j.Dir, layer.Name), layerTypes[c.Method])
	if err != nil {
		return err
	}
	packed := plain
	if c.Program() != "" {
		name := plainArchive + c.Suffix()
		defer os.Remove(filepath.Join(j.Dir, name))
		if err := c.CompressFile(ctx, j.Dir, layer.Name, name, j.Epoch); err != nil {
			return err
		}
		layer.Name = name
		if packed, err = describeBlob(filepath.Join(j.Dir, name), layerTypes[c.Method]); err != nil {
			return err
		}
	}
	documents, err := o.documents(plain.Digest, packed, created)
	if err != nil {
		return err
	}
	if err := j.writeLayout(layer.Name, packed, documents, created); err != nil {
		return fmt.Errorf("cannot make %s: %w", j.Name, err)
	}
	return nil
}

// describeBlob is what a manifest says of the file of a blob.
func describeBlob(file string, is types.MediaType) (v1.Descriptor, error) {
	f, err := os.Open(file)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer f.Close()
	digest, size, err := v1.SHA256(f)
	return v1.Descriptor{MediaType: is, Digest: digest, Size: size}, err
}

// blobName is where a blob is in a layout.
func blobName(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }

// documents are the small files of the layout.
func (o ContainerConfig) documents(diffID v1.Hash, layer v1.Descriptor, created time.Time) ([]archiveFile, error) {
	platform, err := v1.ParsePlatform(o.Platform)
	if err != nil {
		return nil, err
	}
	var environment []string
	for _, key := range slices.Sorted(maps.Keys(o.Environment)) {
		environment = append(environment, key+"="+o.Environment[key])
	}
	when := v1.Time{Time: created.UTC().Truncate(time.Second)}
	var files []archiveFile
	blob := func(is types.MediaType, document any) (v1.Descriptor, error) {
		text, err := json.Marshal(document)
		if err != nil {
			return v1.Descriptor{}, err
		}
		digest, size, err := v1.SHA256(bytes.NewReader(text))
		files = append(files, archiveFile{blobName(digest), text})
		return v1.Descriptor{MediaType: is, Digest: digest, Size: size}, err
	}
	config, err := blob(types.OCIConfigJSON, v1.ConfigFile{
		Architecture: platform.Architecture, OS: platform.OS, Variant: platform.Variant, Created: when,
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{diffID}},
		History: []v1.History{{Created: when, CreatedBy: "imagebuilder"}},
		Config:  v1.Config{Entrypoint: o.Entrypoint, Cmd: o.Command, Env: environment, User: o.User, WorkingDir: o.Directory},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := blob(types.OCIManifestSchema1, v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Layers: []v1.Descriptor{layer}})
	if err != nil {
		return nil, err
	}
	manifest.Platform = platform
	var names []string // for Docker
	if o.Name != "" {
		names = []string{o.reference()}
		manifest.Annotations = map[string]string{"org.opencontainers.image.ref.name": names[0], "io.containerd.image.name": names[0]}
	}
	for _, one := range []struct {
		name     string
		document any
	}{
		{"oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}},
		{"index.json", v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{manifest}}},
		{"manifest.json", []map[string]any{{"Config": blobName(config.Digest), "RepoTags": names, "Layers": []string{blobName(layer.Digest)}}}},
	} {
		text, err := json.Marshal(one.document)
		if err != nil {
			return nil, err
		}
		files = append(files, archiveFile{one.name, text})
	}
	return files, nil
}

// writeLayout writes the archive: the documents and the layer, a file in the directory of the job.
func (j Job) writeLayout(layer string, is v1.Descriptor, documents []archiveFile, created time.Time) (err error) {
	in, err := os.Open(filepath.Join(j.Dir, layer))
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(filepath.Join(j.Dir, j.Name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := tar.NewWriter(out)
	add := func(name string, size int64, content io.Reader) error {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644, ModTime: created.Truncate(time.Second)}); err != nil {
			return err
		}
		_, err := io.Copy(w, content)
		return err
	}
	for _, f := range documents {
		if err := add(f.name, int64(len(f.content)), bytes.NewReader(f.content)); err != nil {
			return err
		}
	}
	if err := add(blobName(is.Digest), is.Size, in); err != nil {
		return err
	}
	return w.Close()
}
