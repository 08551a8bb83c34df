package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"imagebuilder/builtins/fetch"
)

// A blob is a download like any other: what can be taken up is, what a later try may bring is
// tried again, what the registry refuses is not, and nothing but the blob is taken for it.
func TestPull(t *testing.T) {
	status := func(code int) answer {
		return func(_ int, w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(code) }
	}
	stall := func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	tests := []struct {
		summary  string
		serve    answer
		patience time.Duration
		requests string
		err      string // after that of what cannot be downloaded
	}{{
		summary:  "a blob",
		requests: "GET",
	}, {
		summary: "a blob that is cut off is asked for from there on",
		serve: func(n int, w http.ResponseWriter, r *http.Request, blob []byte) {
			if n == 1 {
				cut(150_000, w, r, blob)
			}
			serveBlob(w, r, blob)
		},
		requests: "GET, GET bytes=150000-",
	}, {
		summary:  "a blob that goes on being cut off",
		serve:    func(n int, w http.ResponseWriter, r *http.Request, blob []byte) { cut(10, w, r, blob) },
		requests: "GET, GET bytes=10-, GET bytes=20-, GET bytes=30-, GET bytes=40-",
		err:      "the connection broke: unexpected EOF",
	}, {
		summary: "a blob that comes short",
		serve: func(n int, w http.ResponseWriter, r *http.Request, blob []byte) {
			if n == 1 {
				w.Write(blob[:1000])
				return
			}
			serveBlob(w, r, blob)
		},
		requests: "GET, GET",
	}, {
		summary:  "a blob that always comes short",
		serve:    func(_ int, w http.ResponseWriter, _ *http.Request, blob []byte) { w.Write(blob[:1000]) },
		requests: "GET, GET, GET, GET, GET",
		err:      "the connection broke: 1000 bytes of SIZE have come: unexpected EOF",
	}, {
		summary:  "another blob",
		serve:    func(_ int, w http.ResponseWriter, _ *http.Request, blob []byte) { w.Write(make([]byte, len(blob))) },
		requests: "GET",
		err:      "it has the SHA-256 ",
	}, {
		summary:  "a registry that says nothing for a while",
		patience: time.Second,
		serve: func(n int, w http.ResponseWriter, r *http.Request, blob []byte) {
			if n == 1 {
				<-r.Context().Done()
				return
			}
			serveBlob(w, r, blob)
		},
		requests: "GET, GET",
	}, {
		summary:  "a registry that says nothing",
		patience: 300 * time.Millisecond,
		serve:    func(_ int, _ http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() },
		requests: "GET, GET, GET, GET, GET",
		err:      "the server cannot be reached: the server is too slow: no answer within 300ms",
	}, {
		summary:  "a registry that stops within a blob",
		patience: 300 * time.Millisecond,
		serve:    func(_ int, w http.ResponseWriter, r *http.Request, _ []byte) { stall(w, r) },
		requests: "GET, GET, GET, GET, GET",
		err:      "the connection broke: the server is too slow: less than 65536 bytes in 300ms",
	}, {
		summary: "trouble that passes",
		serve: func(n int, w http.ResponseWriter, r *http.Request, blob []byte) {
			if n < 4 {
				w.WriteHeader([]int{500, 429, 503}[n-1])
				return
			}
			serveBlob(w, r, blob)
		},
		requests: "GET, GET, GET, GET",
	}, {
		summary:  "trouble that stays",
		serve:    status(http.StatusServiceUnavailable),
		requests: "GET, GET, GET, GET, GET",
		err:      "the server says 503 Service Unavailable",
	}, {
		summary:  "no such blob",
		serve:    status(http.StatusNotFound),
		requests: "GET",
		err:      "the server says 404 Not Found",
	}, {
		summary:  "a blob for others",
		serve:    status(http.StatusForbidden),
		requests: "GET",
		err:      "the server says 403 Forbidden",
	}, {
		summary:  "a page in place of a blob",
		serve:    func(_ int, w http.ResponseWriter, _ *http.Request, _ []byte) { io.WriteString(w, "<html>Sorry</html>") },
		requests: "GET",
		err:      ": the server has sent an HTML page",
	}, {
		summary: "a blob that does not end",
		serve: func(_ int, w http.ResponseWriter, r *http.Request, blob []byte) {
			w.Write(append(bytes.Clone(blob), 0))
		},
		requests: "GET",
		err:      "it is larger than SIZE bytes",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			h := newHost(t)
			h.answers(test.serve)
			dir := t.TempDir()
			c := engine(t, dir)
			c.Patience = test.patience
			err := h.pull(c)
			if got := h.requests(); got != test.requests {
				t.Errorf("requests %s\nwant %s", got, test.requests)
			}
			want := strings.ReplaceAll(test.err, "SIZE", fmt.Sprint(len(h.blob)))
			switch {
			case test.err == "" && err != nil:
				t.Error(err)
			case test.err != "":
				if err == nil || !strings.HasPrefix(err.Error(), "cannot download "+h.URL+"/v2/demo/blobs/"+h.layer.Digest+": ") || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v\nwant %s", err, want)
				}
				h.answers(nil)
				if err := h.pull(engine(t, dir)); err != nil {
					t.Errorf("afterwards: %v", err)
				}
				h.requests()
			}
			// What the cache has is not asked for again.
			for _, offline := range []bool{false, true} {
				c := engine(t, dir)
				c.Offline = offline
				if err := h.pull(c); err != nil || h.requests() != "" {
					t.Errorf("from the cache, offline %v: %v", offline, err)
				}
			}
		})
	}
}

// Without the network there is what the cache has, and nothing else.
func TestPullOffline(t *testing.T) {
	h := newHost(t)
	c := engine(t, t.TempDir())
	c.Offline = true
	if err := h.pull(c); !errors.Is(err, fetch.ErrOffline) || h.requests() != "" {
		t.Error(err)
	}
}

// The user's credentials are those of Docker's configuration, or of the variables of older
// tools; a blob that lies elsewhere is asked for without them, whatever happens on the way.
func TestCredentials(t *testing.T) {
	h := newHost(t)
	tries := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("another host gets the credentials")
		}
		if tries++; tries%2 == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		serveBlob(w, r, h.blob)
	}))
	defer elsewhere.Close()
	h.allow = func(w http.ResponseWriter, r *http.Request) bool {
		if user, pass, _ := r.BasicAuth(); user == "me" && pass == "secret" {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	if _, err := (Client{engine(t, t.TempDir())}).Find(context.Background(), h.query); err == nil || !strings.Contains(err.Error(), "401") || fetch.Unreachable(err) {
		t.Errorf("without credentials: %v", err)
	}
	if err := h.pull(engine(t, t.TempDir())); err == nil || !strings.HasSuffix(err.Error(), "the server says 401 Unauthorized") || h.requests() != "" {
		t.Errorf("without credentials: %v", err)
	}
	h.configure(t)
	if _, err := (Client{engine(t, t.TempDir())}).Find(context.Background(), h.query); err != nil {
		t.Error(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost"} {
		h.answers(func(_ int, w http.ResponseWriter, r *http.Request, _ []byte) {
			http.Redirect(w, r, strings.Replace(elsewhere.URL, "127.0.0.1", host, 1)+"/x", http.StatusTemporaryRedirect)
		})
		if err := h.pull(engine(t, t.TempDir())); err != nil {
			t.Error(err)
		}
	}
	if tries != 4 {
		t.Errorf("%d requests of the other host", tries)
	}

	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv(baseVariable, h.URL)
	t.Setenv(userVariable, "me")
	t.Setenv(passVariable, "secret")
	if _, err := (Client{}).Find(context.Background(), Query{Reference: "demo:1", Platform: "linux/amd64"}); err != nil {
		t.Errorf("by variables: %v", err)
	}
}

// configure gives the user credentials for the registry.
func (h *host) configure(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, strings.TrimPrefix(h.URL, "http://"), base64.StdEncoding.EncodeToString([]byte("me:secret")))
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A registry may send its visitors to a server that gives them tokens. It gets the credentials,
// and the registry the token, for which one is asked anew when it has expired.
func TestBearer(t *testing.T) {
	h := newHost(t)
	var mu sync.Mutex
	token, given, trouble := 1, 0, 1
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		given++
		if user, pass, _ := r.BasicAuth(); user != "me" || pass != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]}`)
			return
		}
		if trouble > 0 {
			trouble--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.FormValue("service") != "s" || r.FormValue("scope") != "repository:demo:pull" {
			t.Errorf("a token is asked for by %s", r.URL.RawQuery)
		}
		fmt.Fprintf(w, `{"token": "t%d"}`, token)
	}))
	defer tokens.Close()
	h.allow = func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Authorization") == fmt.Sprintf("Bearer t%d", token) {
			return true
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="s",scope="repository:demo:pull"`, strings.Replace(tokens.URL, "127.0.0.1", "localhost", 1)))
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	h.configure(t)
	if err := h.pull(engine(t, t.TempDir())); err != nil || given != 2 {
		t.Errorf("%d tokens, %v", given, err)
	}
	found, err := Client{engine(t, t.TempDir())}.Find(context.Background(), h.query)
	if err != nil || found.Layers[0] != h.layer {
		t.Errorf("%+v, %v", found, err)
	}

	given = 0
	h.requests()
	h.answers(func(n int, w http.ResponseWriter, r *http.Request, blob []byte) {
		if n > 2 {
			serveBlob(w, r, blob)
			return
		}
		mu.Lock()
		token++
		mu.Unlock()
		cut(1000, w, r, blob)
	})
	if err := h.pull(engine(t, t.TempDir())); err != nil || given != 3 {
		t.Errorf("with tokens that expire: %d of them, %v", given, err)
	}

	given = 0
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	h.requests()
	if err := h.pull(engine(t, t.TempDir())); err == nil || !strings.HasSuffix(err.Error(), "UNAUTHORIZED: who are you") || given != 1 || h.requests() != "" {
		t.Errorf("without credentials, asked %d times: %v", given, err)
	}
}

// A registry that is not there can be told from one that says no, so that a build goes on with
// what it was last told.
func TestUnreachable(t *testing.T) {
	h := newHost(t)
	h.query.Reference = strings.TrimPrefix(h.URL, "http://") + "/none:1"
	if _, err := (Client{engine(t, t.TempDir())}).Find(context.Background(), h.query); err == nil || fetch.Unreachable(err) {
		t.Errorf("no such image: %v", err)
	}
	tries := 0
	h.allow = func(w http.ResponseWriter, _ *http.Request) bool {
		tries++
		w.WriteHeader(http.StatusServiceUnavailable)
		return false
	}
	if _, err := (Client{engine(t, t.TempDir())}).Find(context.Background(), h.query); !fetch.Unreachable(err) || tries != 5 {
		t.Errorf("trouble, %d tries: %v", tries, err)
	}
	c := engine(t, t.TempDir())
	c.Patience = 300 * time.Millisecond
	h.allow = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/manifests/") {
			io.WriteString(w, "{")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
		return true
	}
	if _, err := (Client{c}).Find(context.Background(), h.query); err == nil || !strings.Contains(err.Error(), "the server is too slow: less than 65536 bytes in 300ms") {
		t.Errorf("one that stops within a manifest: %v", err)
	}
	c = engine(t, t.TempDir())
	c.Patience = 50 * time.Millisecond
	h.allow = func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return false }
	if _, err := (Client{c}).Find(context.Background(), h.query); !fetch.Unreachable(err) || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("one that says nothing: %v", err)
	}
	h.Close()
	if _, err := (Client{engine(t, t.TempDir())}).Find(context.Background(), h.query); !fetch.Unreachable(err) {
		t.Errorf("one that is gone: %v", err)
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
