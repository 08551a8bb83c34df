package fetch_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"imagebuilder/builtins/fetch"
)

// What asks servers by itself does so as downloads do, and follows redirections as it likes.
func TestRoundTrip(t *testing.T) {
	tests := []struct {
		summary string
		answers []int // the last again and again
		offline bool
		tries   int
		status  int
		err     string
	}{
		{summary: "an answer", answers: []int{200}, tries: 1, status: 200},
		{summary: "one after trouble", answers: []int{500, 429, 200}, tries: 3, status: 200},
		{summary: "trouble that stays", answers: []int{503}, tries: 5, err: "the server says 503 Service Unavailable"},
		{summary: "a server that asks to wait for ever", answers: []int{429}, tries: 5, err: "the server says 429 Too Many Requests"},
		{summary: "a refusal", answers: []int{401}, tries: 1, status: 401},
		{summary: "a redirection", answers: []int{307}, tries: 1, status: 307},
		{summary: "without the network", offline: true, err: fetch.ErrOffline.Error()},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			var mu sync.Mutex
			tries := 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if body, err := io.ReadAll(r.Body); err != nil || string(body) != "question" {
					t.Errorf("try %d: asked %q, %v", tries, body, err)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(test.answers[min(tries, len(test.answers)-1)])
				tries++
			}))
			defer s.Close()
			c := newClient(t, t.TempDir())
			c.Offline = test.offline
			req, err := http.NewRequest(http.MethodPost, s.URL, io.NopCloser(strings.NewReader("question")))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.RoundTrip(req)
			if tries != test.tries {
				t.Errorf("%d tries, want %d", tries, test.tries)
			}
			switch {
			case test.err != "":
				if err == nil || err.Error() != test.err || !fetch.Unreachable(err) {
					t.Errorf("got %v, want %s", err, test.err)
				}
			case err != nil:
				t.Error(err)
			default:
				if resp.StatusCode != test.status || resp.Request != req {
					t.Errorf("status %d, want %d", resp.StatusCode, test.status)
				}
				resp.Body.Close()
			}
		})
	}
}

// A server that does not speak https will not in a second: it is asked once, and is not one that
// cannot be reached.
func TestRoundTripByTheWrongScheme(t *testing.T) {
	s := newServer(t)
	c := newClient(t, t.TempDir())
	req, err := http.NewRequest(http.MethodGet, strings.Replace(s.URL, "http:", "https:", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.RoundTrip(req); !errors.Is(err, http.ErrSchemeMismatch) {
		t.Error(err)
	}
	s.fails = 2
	if _, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/file"}); err != nil || s.requests() != "GET, GET, GET" {
		t.Error(err)
	}
}

// A visitor asks in the name of somebody, and counts.
type visitor struct {
	*fetch.Client
	requests int
}

func (v *visitor) RoundTrip(req *http.Request) (*http.Response, error) {
	v.requests++
	req.Header.Set("Authorization", "me")
	return v.Client.RoundTrip(req)
}

// starts is a Progress that notes what begins.
type starts []string

func (s *starts) Start(name string, _ int64) io.WriteCloser {
	*s = append(*s, name)
	return s
}

func (s *starts) Write(p []byte) (int, error) { return len(p), nil }
func (s *starts) Close() error                { return nil }

// A file can be asked for in the name of somebody, and is then the same for all.
func TestVia(t *testing.T) {
	s := newServer(t)
	inner := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "me" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		inner.ServeHTTP(w, r)
	})
	c := newClient(t, t.TempDir())
	v := &visitor{Client: c}
	r := fetch.Request{URL: s.URL + "/file", SHA256: digest(content)}
	if _, err := c.Fetch(ctx, r); err == nil || !strings.HasSuffix(err.Error(), "the server says 403 Forbidden") {
		t.Error(err)
	}
	s.cut = 1
	r.Via, r.Label = v, "the file"
	var labels starts
	c.Progress = &labels
	if _, err := c.Fetch(ctx, r); err != nil || v.requests != 2 || s.requests() != "GET, GET Range If-Range" {
		t.Errorf("%d requests, %v", v.requests, err)
	}
	if want := []string{"the file", "the file"}; !slices.Equal(labels, want) {
		t.Errorf("shown as %q, want %q", labels, want)
	}
	r.Via = nil
	if _, err := c.Fetch(ctx, r); err != nil || s.requests() != "" {
		t.Error(err)
	}
}
