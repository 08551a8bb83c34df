package registry

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A manifest, index or configuration that is cut short is asked for again.
func TestCutShort(t *testing.T) {
	h := newHost(t)
	cuts := 0
	h.allow = func(w http.ResponseWriter, r *http.Request) bool {
		if cuts == 0 || !strings.Contains(r.URL.Path, "/manifests/") || r.Method != http.MethodGet {
			return true
		}
		cuts--
		w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v2+json")
		w.Header().Set("Content-Length", "500")
		io.WriteString(w, "{")
		return false
	}
	for _, test := range []struct {
		cuts int
		ok   bool
	}{{1, true}, {2, true}, {3, false}} {
		cuts = test.cuts
		found, err := (Client{engine(t, t.TempDir())}).Find(context.Background(), h.query)
		if (err == nil) != test.ok || test.ok && len(found.Layers) != 2 || cuts != 0 {
			t.Errorf("cut %d times: %+v, %v", test.cuts, found, err)
		}
	}
}

// Where a layer is that a registry need not have is known.
func TestForeignLayer(t *testing.T) {
	h := newHost(t)
	const blob = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	layers := layersOf(&v1.Manifest{Layers: []v1.Descriptor{
		{MediaType: types.DockerForeignLayer, URLs: []string{"https://example.org/layer"}}, {MediaType: types.DockerLayer},
	}})
	if layers[0].Elsewhere != "https://example.org/layer" || layers[1].Elsewhere != "" {
		t.Errorf("%+v", layers)
	}
	manifest := `{"schemaVersion": 2, "mediaType": "` + string(types.OCIManifestSchema1) + `", "config": {"mediaType": "` + string(types.OCIConfigJSON) +
		`", "size": 0, "digest": "` + blob + `"}, "layers": [{"mediaType": "` + string(types.OCILayer) + `", "size": 1, "digest": "sha512:` + strings.Repeat("0", 128) + `"}]}`
	h.allow = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return true
		}
		w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
		io.WriteString(w, manifest)
		return false
	}
	if _, err := (Client{engine(t, t.TempDir())}).Find(context.Background(), h.query); err == nil || !strings.Contains(err.Error(), `cannot take its layer 1: it has the digest "sha512:`) {
		t.Errorf("a blob by another digest: %v", err)
	}
}
