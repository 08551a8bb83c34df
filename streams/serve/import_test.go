package serve_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
	"imagebuilder/streams/serve"
)

// importSite makes a tree with catalogs.
func importSite(t *testing.T, images ...imagetree.Sample) string {
	t.Helper()
	root := t.TempDir()
	err := imagetree.Make(root, images...)
	if err == nil {
		_, err = streams.Build(t.Context(), streams.BuildOptions{Site: streams.Site{Root: root}, Deltas: streams.DeltaOptions{Off: true}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestImport holds that an alias leads to an image that has the hash which is promised, also
// when it is replaced.
func TestImport(t *testing.T) {
	vm := []string{"lxd.tar.xz", "disk.qcow2"}
	root := importSite(t,
		imagetree.Sample{Product: "ubuntu/noble/amd64/default", Version: "20240101_0000", Files: vm},
		imagetree.Sample{Product: "ubuntu/noble/x86_64/cloud", Version: "20240101_0000", Files: vm},
		imagetree.Sample{Product: "ubuntu/noble/amd64/default", Version: "v2", Files: vm}, // clients do not see it
		imagetree.Sample{Product: "ubuntu/broken/amd64/default", Version: "20240101_0000", Files: []string{"lxd.tar.xz", "root.tar.xz"}},
	)
	handler := listen(t, serve.ServerOptions{Root: root, Plain: true}).Handler()
	ask := func(method, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("LXD-Server-Architectures", "x86_64, i686")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	check := func(path string) string {
		t.Helper()
		head, get := ask("HEAD", path), ask("GET", path)
		hash, url := head.Header().Get("LXD-Image-Hash"), head.Header().Get("LXD-Image-URL")
		if head.Code != 200 || head.Body.Len() > 0 || get.Header().Get("LXD-Image-Hash") != hash || get.Body.String() != url+"\n" {
			t.Fatalf("%d %d %q", head.Code, get.Code, get.Body)
		}
		image := ask("GET", strings.TrimPrefix(url, "http://example.com"))
		if sum := sha256.Sum256(image.Body.Bytes()); hex.EncodeToString(sum[:]) != hash {
			t.Errorf("%s has another hash", url)
		}
		if !strings.Contains(url, "20240101_0000") {
			t.Errorf("it is %s", url)
		}
		return hash
	}
	before := check("/ubuntu/noble")
	check("/ubuntu/noble/cloud")
	disk := filepath.Join(root, "images/ubuntu/noble/amd64/default/20240101_0000/disk.qcow2")
	write(t, disk, "QFI\xfb another")
	if check("/ubuntu/noble") == before {
		t.Error("the hash of a file that is no more")
	}
	if err := os.Remove(disk); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/ubuntu/noble":                      "no such file",
		"/ubuntu/broken":                     "root file system",
		"/ubuntu/noble/cloud?type=container": "no version has such an image",
		"/ubuntu/noble/cloud?type=disk":      `the type "disk" is neither`,
	} {
		if w := ask("GET", path); w.Code != http.StatusNotFound || w.Header().Get("LXD-Image-Hash") != "" || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	const version = "/images/ubuntu/noble/x86_64/cloud/20240101_0000/unified/"
	for _, path := range []string{"lxd.tar.xz/disk.qcow2", "lxd.tar.xz/lxd.tar.xz.tar", "disk.qcow2/disk.qcow2.tar", "lxd.tar.xz/../disk.qcow2.tar", "lxd.tar.xz/x.qcow2.tar"} {
		if w := ask("GET", version+path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}
