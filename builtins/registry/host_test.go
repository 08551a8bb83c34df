package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	server "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/layer"
)

// forAMD64 is an image of two layers.
func forAMD64(t *testing.T) v1.Image {
	t.Helper()
	image, err := random.Image(200_000, 2)
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

// A host is a registry with one image, which answers as a test wants.
type host struct {
	*httptest.Server
	query Query
	layer Layer // the lowest of the image

	// allow answers who may not ask; nil: everybody may.
	allow func(w http.ResponseWriter, r *http.Request) bool

	inner http.Handler
	blob  []byte

	mu    sync.Mutex
	serve answer   // nil: as a registry should
	log   []string // the requests for the lowest layer
}

func newHost(t *testing.T) *host {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir()) // the user's has no say
	h := &host{inner: server.New(server.Logger(log.New(io.Discard, "", 0)))}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	h.query = Query{Reference: strings.TrimPrefix(h.URL, "http://") + "/demo:1", Platform: "linux/amd64"}
	ref, err := name.ParseReference(h.query.Reference)
	if err != nil {
		t.Fatal(err)
	}
	image := forAMD64(t)
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
	found, err := Client{}.Find(context.Background(), h.query)
	if err != nil || len(found.Layers) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	h.layer = found.Layers[0]
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	r, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	if h.blob, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.allow != nil && !h.allow(w, r) {
		return
	}
	if r.Method != http.MethodGet || h.layer.Digest == "" || path.Base(r.URL.Path) != h.layer.Digest {
		h.inner.ServeHTTP(w, r)
		return
	}
	h.mu.Lock()
	h.log = append(h.log, strings.TrimSpace(r.Method+" "+r.Header.Get("Range")))
	n, serve := len(h.log), h.serve
	h.mu.Unlock()
	if serve == nil {
		serve = whole
	}
	serve(n, w, r, h.blob)
}

// answers sets how the requests for the lowest layer are answered from now on.
func (h *host) answers(serve answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serve = serve
}

// An answer is one to the request for a blob of that number, from 1 on.
type answer func(n int, w http.ResponseWriter, r *http.Request, blob []byte)

func whole(_ int, w http.ResponseWriter, r *http.Request, blob []byte) { serveBlob(w, r, blob) }

// serveBlob answers as a registry should.
func serveBlob(w http.ResponseWriter, r *http.Request, blob []byte) {
	w.Header().Set("ETag", fmt.Sprintf("\"%d\"", len(blob)))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
}

// cut answers with the first bytes of what is asked for.
func cut(bytes int, w http.ResponseWriter, r *http.Request, blob []byte) {
	serveBlob(&cutWriter{w, bytes}, r, blob)
}

type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 {
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func (h *host) requests() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() { h.log = nil }()
	return strings.Join(h.log, ", ")
}

// engine is what downloads in a build, with a store of its own.
func engine(t *testing.T, dir string) *fetch.Client {
	t.Helper()
	store, err := layer.Open(dir, layer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return &fetch.Client{Store: store, Log: slog.New(slog.DiscardHandler), Wait: time.Millisecond}
}

// pull gets the lowest layer as a build does.
func (h *host) pull(c *fetch.Client) error {
	via, err := Client{c}.Blobs(h.query)
	if err != nil {
		return err
	}
	r := fetch.Request{Size: h.layer.Size, Via: via}
	if r.URL, err = h.query.Blob(h.layer); err != nil {
		return err
	}
	if r.SHA256, err = h.layer.SHA256(); err != nil {
		return err
	}
	f, err := c.Fetch(context.Background(), r)
	if err != nil {
		return err
	}
	got, err := os.ReadFile(f.Path)
	if err == nil && !bytes.Equal(got, h.blob) {
		err = errors.New("the blob is another one")
	}
	return err
}
