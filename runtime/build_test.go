package runtime

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"imagebuilder/builtins/layer"
)

// What a packed image is called is decided once in a run, and again when it is too old.
func TestPackedAgain(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
	const recipe = `
form = option("form", "split")
def main():
    img = image("x", "1", architecture = "amd64", expiry = "2d")
    root = rootfs(img)
    root.write("/etc/x", "text")
    pack_lxd(root, img, type = form, compression = "none")
`
	began := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	tests := []struct {
		summary string
		form    string
		after   time.Duration
		name    string // of the first result
	}{
		{"a split image", "split", 0, "lxd.tar"},
		{"a unified image", "unified", 0, "x-1-amd64-default-20260102_0304.tar"},
		{"the same a minute later", "unified", time.Minute, "x-1-amd64-default-20260102_0304.tar"},
		{"the same until half of its time has passed", "unified", 24 * time.Hour, "x-1-amd64-default-20260102_0304.tar"},
		{"then it is packed again", "unified", 24*time.Hour + time.Minute, "x-1-amd64-default-20260103_0305.tar"},
		{"which counts from then", "unified", 48 * time.Hour, "x-1-amd64-default-20260103_0305.tar"},
	}
	cache := t.TempDir()
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			config := testConfig()
			config.Now, config.Options = began.Add(test.after), Given{"form": {test.form}}
			r, err := LoadText(context.Background(), "x.star", recipe, config)
			if err != nil {
				t.Fatal(err)
			}
			results, err := r.Build(BuildOptions{Target: t.TempDir(), Cache: cache, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(Explain(err))
			}
			if name := filepath.Base(results[0].Path); name != test.name {
				t.Errorf("the result is %s, want %s", name, test.name)
			}
		})
	}
}

// Downloads of a recipe happen side by side, each once, and what is wrong with one is said
// where the recipe asks for it.
func TestDownloadsSideBySide(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
	var mu sync.Mutex
	asked := make(map[string]int)
	both := make(chan struct{}) // closed when two requests wait for an answer
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		if len(asked) == 2 && asked[r.URL.Path] == 1 {
			close(both)
		}
		mu.Unlock()
		select {
		case <-both:
		case <-time.After(10 * time.Second):
			t.Error("the second file is not asked for before the first has come")
		}
		if r.URL.Path == "/c" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, r.URL.Path)
	}))
	defer server.Close()
	recipe := `
def main():
    for name in ["a", "b", "c"]:
        f = download("URL/" + name)
        print(f.sha256)
`
	r, err := LoadText(context.Background(), "x.star", strings.ReplaceAll(recipe, "URL", server.URL), testConfig())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := r.Ready(dir, nil); err != nil {
		t.Fatal(err)
	}
	_, err = r.Build(BuildOptions{Target: dir, Cache: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	want := "x.star:4:21: in main\n"
	if err == nil || !strings.HasPrefix(Explain(err), want) || !strings.Contains(Explain(err), "/c: the server says 404 Not Found") {
		t.Errorf("got %v", Explain(err))
	}
	for name, n := range asked {
		if n != 1 {
			t.Errorf("%s was asked for %d times", name, n)
		}
	}
}

// What is asked about files is remembered for as long as they are the same.
func TestFilesAskedAboutOnce(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
	const recipe = `
text = option("text", "one")
def main():
    root = rootfs(image("x"))
    root.write("/etc/x", text)
    root.write("/etc/y", root.read("/etc/x"))
    export(root)
`
	cache := t.TempDir()
	build := func(text string, o layer.Options) string {
		t.Helper()
		config := testConfig()
		config.Options = Given{"text": {text}}
		r, err := LoadText(context.Background(), "x.star", recipe, config)
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(t.TempDir(), "out")
		if _, err := r.Build(BuildOptions{Target: target, Cache: cache, Store: o, Log: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(Explain(err))
		}
		got, err := os.ReadFile(filepath.Join(target, "etc/y"))
		if err != nil {
			t.Fatal(err)
		}
		return string(got)
	}
	if got := build("one", layer.Options{}); got != "one" {
		t.Fatalf("the file has %q", got)
	}

	// The record is given another answer, to see when it is used.
	files, err := filepath.Glob(filepath.Join(cache, "history", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the history is %q, %v", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	encode := func(s string) []byte { return []byte(base64.StdEncoding.EncodeToString([]byte(s))) }
	if err := os.WriteFile(files[0], bytes.ReplaceAll(data, encode("one"), encode("eno")), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		summary string
		text    string
		options layer.Options
		want    string
	}{
		{"plain copies are not known by their content", "one", layer.Options{NoOverlay: true}, "one"},
		{"other files are looked at", "two", layer.Options{}, "two"},
		{"the same are not", "one", layer.Options{}, "eno"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			if got := build(test.text, test.options); got != test.want {
				t.Errorf("the file has %q, want %q", got, test.want)
			}
		})
	}
}
