package matrix

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	memory "github.com/google/go-containerregistry/pkg/registry"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/registry"
	"imagebuilder/builtins/signing"
)

// What is given of a run is below its target directory, and only of one that came to a good end.
func TestReport(t *testing.T) {
	target := t.TempDir()
	for _, name := range []string{"tree/file", "a/image", "a/SHA256SUMS"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(target, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(target, name), []byte("text"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := Result{ID: "a", Status: OK, Results: []build.Result{{Path: filepath.Join(target, "a/image"), Size: 4, SHA256: "sum"}, {Path: filepath.Join(target, "tree")}}}
	names := func(r Result) string {
		said, err := r.Report("recipes/a.star", nil, target)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseResult(said.Result)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range said.Files {
			names = append(names, f.Name)
		}
		for _, result := range again.Results {
			names = append(names, result.Path)
		}
		return said.Recipe + ": " + strings.Join(names, " ")
	}
	if got, want := names(r), "a.star: a/image a/SHA256SUMS a/image tree"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.Status = Failed
	if got, want := names(r), "a.star: "; got != want {
		t.Errorf("of one that failed: got %q, want %q", got, want)
	}
}

// aKey is one of nobody.
const aKey = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEICWPNAJ6F0HpiSL+jREHPJcE9UQ8NmYNjhoDmwWlWJDk
-----END PRIVATE KEY-----
`

// What a cell has made is put where it would have made it, what is there already stays, and what is
// not to be had is the trouble of its cell.
func TestTake(t *testing.T) {
	inner := memory.New(memory.Logger(log.New(io.Discard, "", 0)))
	var swept atomic.Bool // it has lost its blobs, but for what is said of runs
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if swept.Load() && strings.HasSuffix(r.URL.Path, "/blobs/sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	share, err := registry.NewShare(strings.TrimPrefix(server.URL, "http://") + "/cells")
	if err != nil {
		t.Fatal(err)
	}
	key, err := signing.ParsePrivateKey([]byte(aKey))
	if err != nil {
		t.Fatal(err)
	}
	share.Keys, share.Signer, share.Giving = []signing.Key{key}, &key, registry.Shared

	ctx, target, out := context.Background(), t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(target, "image"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	began := time.Now().Add(-time.Hour)
	r := Result{Status: OK, Started: began, Results: []build.Result{{Path: filepath.Join(target, "image"), Size: 4, SHA256: "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"}}}
	said, err := r.Report("recipes/a.star", []string{"x=1"}, target)
	if err != nil {
		t.Fatal(err)
	}
	share.Ends(ctx, said, target)

	at := filepath.Join(out, "a-1", "image")
	tests := []struct {
		summary string
		before  func() error
		since   time.Time
		status  string
		content string
	}{
		{"it began too long ago", nil, time.Now(), NotStarted, ""},
		{"it is taken", nil, time.Time{}, OK, "text"},
		{"another is there", func() error { return os.WriteFile(at, []byte("txet"), 0o644) }, began.Add(-time.Minute), OK, "text"},
		{"it is there, and not to be had", func() error { swept.Store(true); return nil }, time.Time{}, OK, "text"},
		{"it is not to be had", func() error { return os.Remove(at) }, time.Time{}, Failed, ""},
	}
	for _, test := range tests {
		if test.before != nil {
			if err := test.before(); err != nil {
				t.Fatal(err)
			}
		}
		got, err := Source{share, test.since}.Take(ctx, out, Cell{ID: "a-1", Recipe: "a.star", Options: []string{"x=1"}})
		content, _ := os.ReadFile(at)
		if err != nil || got.ID != "a-1" || got.Status != test.status || string(content) != test.content {
			t.Errorf("%s: %+v, %v; there is %q", test.summary, got, err, content)
		}
		if test.status != OK {
			continue
		}
		if kept, err := ReadResult(out, "a-1"); err != nil || kept.Status != OK || kept.Results[0].Path != at {
			t.Errorf("%s: it is kept as %+v, %v", test.summary, kept, err)
		}
	}
}

func FuzzParseResult(f *testing.F) {
	f.Add([]byte(`{"status":"ok","results":[{"path":"sub/image","size":5,"sha256":"aa"}]}`))
	f.Add([]byte(`{"status":"ok","results":[{"path":"../image"}]}`))
	f.Add([]byte(`{"status":"\u001b[2J"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseResult(text)
		if err != nil {
			return
		}
		if !slices.Contains([]string{OK, Failed, Interrupted, Running}, r.Status) {
			t.Errorf("took the status %q", r.Status)
		}
		for _, result := range r.Results {
			if at := filepath.Join("/out/cell", result.Path); at != "/out/cell" && !strings.HasPrefix(at, "/out/cell/") {
				t.Errorf("took the result %q", result.Path)
			}
		}
		if _, err := json.Marshal(r); err != nil {
			t.Errorf("cannot write what was read: %v", err)
		}
	})
}
