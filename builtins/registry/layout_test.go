package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// archiveOf is a tar archive of files: names, each followed by a content. One that begins with "-> " is
// the target of a symbolic link.
func archiveOf(files ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Size: int64(len(files[i+1])), Mode: 0o644, Typeflag: tar.TypeReg}
		if target, ok := strings.CutPrefix(files[i+1], "-> "); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		}
		w.WriteHeader(h)
		if h.Size > 0 {
			io.WriteString(w, files[i+1])
		}
	}
	w.Close()
	return b.Bytes()
}

func digestOf(text string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))) }

func gzipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

func configOf(arch string, layers ...string) string {
	ids := make([]string, len(layers))
	for i, l := range layers {
		ids[i] = fmt.Sprintf("%q", digestOf(l))
	}
	return fmt.Sprintf(`{"os": "linux", "architecture": %q, "rootfs": {"type": "layers", "diff_ids": [%s]}}`, arch, strings.Join(ids, ", "))
}

// What docker save writes is found in by tag and platform, whoever wrote it.
func TestSaved(t *testing.T) {
	lower, upper := string(archiveOf("etc/a", "1")), string(archiveOf("etc/b", "2"))
	config := configOf("amd64", lower, upper)
	one := []string{"c.json", config, "l/layer.tar", lower, "u/layer.tar", upper}
	manifest := func(entries ...string) []string {
		return []string{"manifest.json", "[" + strings.Join(entries, ", ") + "]"}
	}
	const entry = `{"Config": "c.json", "RepoTags": ["demo:1", "other:2"], "Layers": ["l/layer.tar", "u/layer.tar"]}`
	tests := []struct {
		summary string
		files   []string
		name    string
		want    string // config, blobs of the layers
		err     string
	}{{
		summary: "an image",
		files:   append(one, manifest(entry)...),
		want:    fmt.Sprint(digestOf(config), digestOf(lower), digestOf(upper)),
	}, {
		summary: "by its second tag",
		files:   append(one, manifest(entry)...),
		name:    "other:2",
		want:    fmt.Sprint(digestOf(config), digestOf(lower), digestOf(upper)),
	}, {
		summary: "by the whole of its name",
		files:   append(one, manifest(entry)...),
		name:    "docker.io/library/demo:1",
		want:    fmt.Sprint(digestOf(config), digestOf(lower), digestOf(upper)),
	}, {
		summary: "by a tag that no image has",
		files:   append(one, manifest(entry)...),
		name:    "demo:2",
		err:     "there is no image for demo:2; there are: demo:1, other:2",
	}, {
		summary: "of several that for the platform",
		files: append([]string{"a.json", configOf("arm64")}, append(one,
			manifest(`{"Config": "a.json", "RepoTags": null, "Layers": []}`, entry)...)...),
		want: fmt.Sprint(digestOf(config), digestOf(lower), digestOf(upper)),
	}, {
		summary: "only for another platform",
		files:   append([]string{"a.json", configOf("arm64")}, manifest(`{"Config": "a.json", "Layers": []}`)...),
		err:     "there is no image for linux/amd64; there are: linux/arm64",
	}, {
		summary: "layers that are links, as older versions write those that there are twice",
		files: append([]string{"c.json", configOf("amd64", lower, lower), "l/layer.tar", lower, "u/layer.tar", "-> ../l/layer.tar"},
			manifest(entry)...),
		want: fmt.Sprint(digestOf(configOf("amd64", lower, lower)), digestOf(lower), digestOf(lower)),
	}, {
		summary: "a compressed layer",
		files:   append([]string{"c.json", config, "l/layer.tar", gzipped(lower), "u/layer.tar", upper}, manifest(entry)...),
		want:    fmt.Sprint(digestOf(config), digestOf(gzipped(lower)), digestOf(upper)),
	}, {
		summary: "links that lead to each other",
		files:   append([]string{"c.json", config, "l/layer.tar", "-> layer.tar", "u/layer.tar", upper}, manifest(entry)...),
		err:     "cannot read the layer l/layer.tar: l/layer.tar leads from link to link in the archive",
	}, {
		summary: "a link out of the archive",
		files:   append([]string{"c.json", config, "l/layer.tar", "-> ../../../etc/passwd", "u/layer.tar", upper}, manifest(entry)...),
		err:     "cannot read the layer l/layer.tar: l/layer.tar: file does not exist in the archive",
	}, {
		summary: "fewer layers than the configuration has",
		files:   append(one, manifest(`{"Config": "c.json", "Layers": ["l/layer.tar"]}`)...),
		err:     "its manifest and its configuration have different layers",
	}, {
		summary: "no configuration",
		files:   manifest(entry),
		err:     "c.json: file does not exist in the archive",
	}, {
		summary: "something else",
		files:   []string{"manifest.json", "{}"},
		err:     "cannot read its manifest.json: json: cannot unmarshal object into Go value of type []registry.saved",
	}, {
		summary: "an archive of neither kind",
		files:   []string{"etc/a", "1"},
		err:     "it has neither index.json, as an OCI layout, nor manifest.json, as what docker save writes",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "archive")
			if err := os.WriteFile(file, archiveOf(test.files...), 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := OpenArchive(file)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			image, err := l.Find(Query{Platform: "linux/amd64", Name: test.name})
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("got %v\nwant %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := []any{image.Digest}
			for _, layer := range image.Layers {
				got = append(got, layer.Digest)
				r, err := l.Open(layer)
				if err != nil {
					t.Fatal(err)
				}
				data, err := io.ReadAll(r)
				if err != nil || digestOf(string(data)) != layer.Digest || int64(len(data)) != layer.Size {
					t.Errorf("layer %+v: %d bytes of %s, %v", layer, len(data), digestOf(string(data)), err)
				}
			}
			if fmt.Sprint(got...) != test.want {
				t.Errorf("got %s\nwant %s", got, test.want)
			}
		})
	}
}

// A newer docker save writes a layout, in which an image is called by its tag as well.
func TestSavedLayout(t *testing.T) {
	config := configOf("amd64")
	manifest := fmt.Sprintf(`{"schemaVersion": 2, "config": {"digest": %q, "size": %d}, "layers": []}`, digestOf(config), len(config))
	index := fmt.Sprintf(`{"schemaVersion": 2, "manifests": [{"digest": %q, "size": %d, "annotations": {
		"io.containerd.image.name": "docker.io/library/demo:1", "org.opencontainers.image.ref.name": "1"}}]}`, digestOf(manifest), len(manifest))
	blob := func(text string) string { return strings.Replace("blobs/"+digestOf(text), ":", "/", 1) }
	file := filepath.Join(t.TempDir(), "archive")
	err := os.WriteFile(file, archiveOf("index.json", index, "manifest.json", "[]", blob(manifest), manifest, blob(config), config), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	l, err := OpenArchive(file)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, want := range map[string]string{"": "", "demo:1": "", "1": "", "demo:2": `there is no image for demo:2; there are: "1"`} {
		image, err := l.Find(Query{Platform: "linux/amd64", Name: name})
		if err == nil && (want != "" || image.Digest != digestOf(manifest)) || err != nil && err.Error() != want {
			t.Errorf("%q: %+v, %v", name, image, err)
		}
	}
}

// Whatever an archive says, finding an image in it ends.
func FuzzLayout(f *testing.F) {
	f.Add(archiveOf("index.json", `{"schemaVersion": 2, "manifests": []}`))
	f.Add(archiveOf("./index.json", `{"manifests": [{"digest": "sha256:`+strings.Repeat("0", 64)+`", "mediaType": "application/vnd.oci.image.index.v1+json"}]}`))
	f.Add(archiveOf("c.json", configOf("amd64", "x"), "l", "x", "manifest.json", `[{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l"]}]`))
	f.Add(archiveOf("manifest.json", "-> manifest.json"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if l, err := inArchive(bytes.NewReader(data)); err == nil {
			l.Find(Query{Platform: "linux/amd64"})
		}
	})
}
