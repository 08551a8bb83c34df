package registry

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	server "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// forAMD64 is an image of two layers.
func forAMD64(t *testing.T) v1.Image {
	t.Helper()
	image, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// The user's credentials are those of Docker's configuration, or of the variables of older
// tools; a blob that lies elsewhere is asked for without them.
func TestCredentials(t *testing.T) {
	blobs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("another host gets the credentials")
		}
		io.WriteString(w, "blob")
	}))
	defer blobs.Close()
	inner := server.New(server.Logger(log.New(io.Discard, "", 0)))
	elsewhere := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, pass, _ := r.BasicAuth(); user != "me" || pass != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if elsewhere && strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, strings.Replace(blobs.URL, "127.0.0.1", "localhost", 1)+"/x", http.StatusTemporaryRedirect)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")

	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	q := Query{Reference: host + "/demo:1", Platform: "linux/amd64"}
	ctx := context.Background()
	if _, err := (Client{}).Find(ctx, q); err == nil || !strings.Contains(err.Error(), "401") || !Refused(err) {
		t.Errorf("without credentials: %v", err)
	}
	config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, base64.StdEncoding.EncodeToString([]byte("me:secret")))
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(q.Reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, forAMD64(t), remote.WithAuthFromKeychain(keychain{})); err != nil {
		t.Fatal(err)
	}
	found, err := Client{}.Find(ctx, q)
	if err != nil || len(found.Layers) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	elsewhere = true
	r, err := Client{}.Open(ctx, q, found.Layers[0])
	if err != nil {
		t.Fatal(err)
	}
	r.Close()

	elsewhere = false
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv(baseVariable, s.URL)
	t.Setenv(userVariable, "me")
	t.Setenv(passVariable, "secret")
	if _, err := (Client{}).Find(ctx, Query{Reference: "demo:1", Platform: "linux/amd64"}); err != nil {
		t.Errorf("by variables: %v", err)
	}
}

// Only this machine is spoken to by http.
func TestSafe(t *testing.T) {
	for url, want := range map[string]string{
		"http://10.0.0.1:5000/v2/": "10.0.0.1 is asked by http, which anybody on the way can change",
		"http://x.local/v2/":       "x.local is asked by http, which anybody on the way can change",
		"http://127.0.0.1/v2/":     "asked",
		"https://x.org/v2/":        "asked",
	} {
		req := httptest.NewRequest(http.MethodGet, url, nil)
		if _, err := (safe{refusing{}}).RoundTrip(req); err == nil || err.Error() != want {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// refusing asks nobody.
type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("asked") }

// Manifests that nobody serves any more are named.
func TestSchema1(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
		io.WriteString(w, `{"schemaVersion": 1}`)
	}))
	defer s.Close()
	_, err := Client{}.Find(context.Background(), Query{Reference: strings.TrimPrefix(s.URL, "http://") + "/x", Platform: "linux/amd64"})
	if err == nil || !strings.Contains(err.Error(), "schema 1") {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct{ reference, platform, want string }{
		{"alpine", "linux/amd64", ""},
		{"host:5000/a/b:1@sha256:" + strings.Repeat("0", 64), "linux/arm/v7", ""},
		{"A B", "linux/amd64", `not the reference of an image: "A B"`},
		{"alpine", "amd64", `not a platform such as linux/amd64: "amd64"`},
	} {
		err := Query{Reference: test.reference, Platform: test.platform}.Check()
		if err == nil && test.want != "" || err != nil && err.Error() != test.want {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

func TestServes(t *testing.T) {
	for _, test := range []struct {
		has, want string
		serves    bool
	}{
		{"linux/arm64/v8", "linux/arm64", true},
		{"linux/arm/v6", "linux/arm/v7", true},
		{"linux/arm/v7", "linux/arm/v6", false},
		{"linux/amd64", "linux/386", false},
		{"windows/amd64", "linux/amd64", false},
	} {
		has, err := v1.ParsePlatform(test.has)
		if err != nil {
			t.Fatal(err)
		}
		want, err := v1.ParsePlatform(test.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := serves(*has, *want); got != test.serves {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

// Whatever an archive says, finding an image in it ends.
func FuzzLayout(f *testing.F) {
	archive := func(files ...string) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i := 0; i < len(files); i += 2 {
			w.WriteHeader(&tar.Header{Name: files[i], Size: int64(len(files[i+1])), Mode: 0o644, Typeflag: tar.TypeReg})
			io.WriteString(w, files[i+1])
		}
		w.Close()
		return b.Bytes()
	}
	f.Add(archive("index.json", `{"schemaVersion": 2, "manifests": []}`))
	f.Add(archive("./index.json", `{"manifests": [{"digest": "sha256:`+strings.Repeat("0", 64)+`", "mediaType": "application/vnd.oci.image.index.v1+json"}]}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(dir, "archive")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := OpenArchive(file)
		if err != nil {
			return
		}
		defer l.Close()
		l.Find(Query{Platform: "linux/amd64"})
	})
}
