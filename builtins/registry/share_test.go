package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	memory "github.com/google/go-containerregistry/pkg/registry"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/signing"
	"imagebuilder/builtins/treetask"
)

func TestMain(m *testing.M) {
	if code, ok := sandbox.Main(append(layer.Tasks, treetask.Archiving, treetask.Filling)...); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// Keys of nobody.
const (
	ownKey = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEICWPNAJ6F0HpiSL+jREHPJcE9UQ8NmYNjhoDmwWlWJDk
-----END PRIVATE KEY-----
`
	otherKey = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEILo4zTA+s4MEHBs+gJ9aTi4Pn3PcXUNC4MRxWO2OtyDx
-----END PRIVATE KEY-----
`
)

func key(t testing.TB, text string) signing.Key {
	t.Helper()
	k, err := signing.ParsePrivateKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// a machine is one that builds two layers and a result, with a store of its own.
type machine struct {
	share *Share
	log   bytes.Buffer
	to    *slog.Logger // writes there
}

// newMachine returns one that signs what it gives, and trusts what the same key has signed.
func newMachine(t *testing.T, registry, signer, trusted string) *machine {
	t.Helper()
	share, err := NewShare(strings.TrimPrefix(registry, "http://") + "/team/layers")
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{share: share}
	m.to = slog.New(slog.NewTextHandler(&m.log, nil))
	share.Log = m.to
	if trusted != "" {
		share.Keys = []signing.Key{key(t, trusted)}
	}
	if signer != "" {
		k := key(t, signer)
		share.Signer, share.Giving = &k, All
	}
	return m
}

// build builds all of it and returns how many steps were done, and what came of it.
func (m *machine) build(t *testing.T) (done int, content string) {
	t.Helper()
	store, err := layer.Open(t.TempDir(), layer.Options{Remote: m.share, Log: m.to})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		m.share.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	state := store.NewState()
	for i := range 2 {
		out, err := state.Change(context.Background(), layer.Origin{Name: fmt.Sprint("step", i)}, func(_ context.Context, stack sandbox.Stack) error {
			return os.WriteFile(filepath.Join(stack.Upper, fmt.Sprint("file", i)), bytes.Repeat([]byte("text"), 1000), 0o644)
		})
		if err != nil {
			t.Fatal(err)
		}
		if !out.Hit {
			done++
		}
	}
	dir, out, err := state.Result(context.Background(), layer.Origin{Name: "pack"}, func(_ context.Context, stack sandbox.Stack, dir string) error {
		var all []byte
		for _, lower := range stack.Lower {
			names, err := os.ReadDir(lower)
			if err != nil {
				return err
			}
			for _, n := range names {
				all = append(all, n.Name()+"\n"...)
			}
		}
		return os.WriteFile(filepath.Join(dir, "image"), all, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	if !out.Hit {
		done++
	}
	text, err := os.ReadFile(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	return done, string(text)
}

// serve starts a registry that has nothing. between sees its requests first, and answers those
// for which it returns true; nil: none.
func serve(t *testing.T, between func(n int64, w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	inner := memory.New(memory.Logger(log.New(io.Discard, "", 0)))
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if between != nil && between(n.Add(1), w, r) {
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

const builtContent = "file0\nfile1\n"

func needsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
}

func TestShare(t *testing.T) {
	needsRoot(t)
	url := serve(t, nil)
	tests := []struct {
		summary, signer, trusted string
		done                     int
		said                     string
	}{
		{"the first builds, and gives", ownKey, ownKey, 3, ""},
		{"the second builds nothing", "", ownKey, 0, ""},
		{"who trusts nobody builds", "", "", 3, ""},
		{"who trusts another builds", "", otherKey, 3, "another key has signed it"},
	}
	for _, test := range tests {
		m := newMachine(t, url, test.signer, test.trusted)
		done, content := m.build(t)
		if done != test.done || content != builtContent || !strings.Contains(m.log.String(), test.said) {
			t.Errorf("%s: %d steps were done, want %d; made %q; said:\n%s", test.summary, done, test.done, content, &m.log)
		}
	}
}

// Whatever request it is that a registry does not answer, and however it fails: the build comes
// to its end with what it makes alone, and says once that the store is of no use.
func TestShareFails(t *testing.T) {
	needsRoot(t)
	failures := map[string]func(w http.ResponseWriter){
		"says 500":       func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"has no room":    func(w http.ResponseWriter) { w.WriteHeader(http.StatusInsufficientStorage) },
		"lets nobody in": func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) },
		"hangs up":       func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"sends garbage":  func(w http.ResponseWriter) { w.Write([]byte("garbage")) },
	}
	for how, fail := range failures {
		for after := int64(0); after < 100; after++ {
			var failed atomic.Bool
			url := serve(t, func(n int64, w http.ResponseWriter, _ *http.Request) bool {
				if n <= after {
					return false
				}
				failed.Store(true)
				fail(w)
				return true
			})
			first := newMachine(t, url, ownKey, ownKey)
			_, content := first.build(t)
			second := newMachine(t, url, ownKey, ownKey)
			_, again := second.build(t)
			if content != builtContent || again != builtContent {
				t.Errorf("the registry %s after %d requests: made %q, then %q", how, after, content, again)
			}
			for _, m := range []*machine{first, second} {
				if n := strings.Count(m.log.String(), "the shared store cannot be used"); n > 1 {
					t.Errorf("the registry %s after %d requests: it was said %d times:\n%s", how, after, n, &m.log)
				}
			}
			if !failed.Load() {
				break
			}
		}
	}
}

// What is not what was signed is not taken.
func TestShareDamaged(t *testing.T) {
	needsRoot(t)
	damage := map[string]func(body []byte) []byte{
		"is cut":          func(b []byte) []byte { return b[:len(b)/2] },
		"has a bit other": func(b []byte) []byte { b = bytes.Clone(b); b[len(b)/2] ^= 1; return b },
		"has more":        func(b []byte) []byte { return append(bytes.Clone(b), "more"...) },
	}
	for how, change := range damage {
		for _, kind := range []string{"blobs", "manifests"} {
			server := damages(t, kind, change)
			newMachine(t, server.URL, ownKey, ownKey).build(t)
			server.damaging.Store(true)
			m := newMachine(t, server.URL, "", ownKey)
			done, content := m.build(t)
			harmless := kind == "manifests" && how == "has more" // whoever reads JSON stops at its end
			if done != 3 && !harmless || content != builtContent {
				t.Errorf("what of %s the registry sends %s: %d steps were done; made %q; said:\n%s", kind, how, done, content, &m.log)
			}
		}
	}
}

// A damager is a registry that changes what it sends, once it is damaging.
type damager struct {
	*httptest.Server
	damaging atomic.Bool
}

// damages starts one that changes blobs or manifests.
func damages(t *testing.T, kind string, change func(body []byte) []byte) *damager {
	d := new(damager)
	inner := memory.New(memory.Logger(log.New(io.Discard, "", 0)))
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !d.damaging.Load() || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/"+kind+"/") {
			inner.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		inner.ServeHTTP(answer, r)
		for name, values := range answer.Header() {
			if name != "Content-Length" {
				w.Header()[name] = values
			}
		}
		w.WriteHeader(answer.Code)
		w.Write(change(answer.Body.Bytes()))
	}))
	t.Cleanup(d.Close)
	return d
}

// An entry that lies at the address of another is not taken for that.
func TestShareElsewhere(t *testing.T) {
	needsRoot(t)
	var always atomic.Value // the path of the tag that is sent for each; none: what is asked for
	inner := memory.New(memory.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := always.Load(); path != nil && strings.Contains(r.URL.Path, "/manifests/") {
			r.URL.Path = path.(string)
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	first := newMachine(t, server.URL, ownKey, ownKey)
	first.build(t)
	for address := range first.share.used {
		if o, err := first.share.look(context.Background(), address); err != nil {
			t.Fatal(err)
		} else if o.Entry.Step == "step0" { // which is found, so that the others are looked for where the first gave them
			always.Store("/v2/team/layers/manifests/" + address)
			break
		}
	}
	m := newMachine(t, server.URL, "", ownKey)
	if done, content := m.build(t); done != 2 || content != builtContent || strings.Count(m.log.String(), "is about something else") != 2 {
		t.Errorf("%d steps were done, want 2; made %q; said:\n%s", done, content, &m.log)
	}
}

func TestNewShareRefuses(t *testing.T) {
	for _, text := range []string{"", "layers", "http://", "registry.example/UPPER", "registry.example:5000/team/layers:tag"} {
		if _, err := NewShare(text); err == nil || !strings.Contains(err.Error(), "not a repository") {
			t.Errorf("NewShare(%q): error %v", text, err)
		}
	}
}
