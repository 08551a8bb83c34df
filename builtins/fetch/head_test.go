package fetch

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"imagebuilder/builtins/layer"
)

func TestHead(t *testing.T) {
	tests := []struct {
		summary   string
		head, get int // statuses
		header    http.Header
		size      int64
		err       string
	}{
		{"by HEAD", 200, 0, http.Header{"Content-Length": {"42"}}, 42, ""},
		{"of no size", 200, 0, nil, -1, ""},
		{"by the first byte", 405, 206, http.Header{"Content-Range": {"bytes 0-0/42"}}, 42, ""},
		{"by the first byte, of no size", 403, 206, http.Header{"Content-Range": {"bytes 0-0/*"}}, -1, ""},
		{"an empty file", 501, 416, http.Header{"Content-Range": {"bytes */0"}}, 0, ""},
		{"it is not there", 404, 0, nil, 0, "the server says 404 Not Found"},
		{"it is not there, by GET", 405, 410, nil, 0, "the server says 410 Gone"},
		{"it is forbidden", 403, 403, nil, 0, "the server says 403 Forbidden"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				status := test.head
				if r.Method == http.MethodGet {
					status = test.get
				}
				for name, values := range test.header {
					w.Header()[name] = values
				}
				if test.header == nil {
					w.Header()["Transfer-Encoding"] = []string{"identity"}
				}
				w.WriteHeader(status)
			}))
			defer server.Close()
			head, err := (&Client{Wait: time.Millisecond}).Head(context.Background(), server.URL+"/x")
			want := test.err
			if want != "" {
				want = "cannot look for " + server.URL + "/x: " + want
			}
			if (err == nil) != (want == "") || err != nil && err.Error() != want {
				t.Fatalf("got %v, want %q", err, want)
			}
			if err == nil && head != (Head{server.URL + "/x", test.size}) {
				t.Errorf("got %+v", head)
			}
		})
	}
}

// A host that could not be reached is not waited for a second time, so that a build without a
// network ends soon.
func TestHostDown(t *testing.T) {
	var tries atomic.Int32
	store, err := layer.Open(t.TempDir(), layer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	c := &Client{Store: store, Wait: time.Millisecond, Transport: roundTripper(func(*http.Request) (*http.Response, error) {
		tries.Add(1)
		return nil, errors.New("no route")
	})}
	for _, url := range []string{"http://x.org/a", "http://x.org/b", "http://y.org/a"} {
		if _, err := c.Head(context.Background(), url); !Unreachable(err) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := c.Fetch(context.Background(), Request{URL: "http://x.org/c"}); !Unreachable(err) {
		t.Errorf("got %v", err)
	}
	if n := tries.Load(); n != 2*(retries+1)+2 {
		t.Errorf("%d requests", n)
	}
	c.GiveUp = true // and not asked at all
	if _, err := c.Fetch(context.Background(), Request{URL: "http://x.org/d"}); !Unreachable(err) || !strings.HasSuffix(err.Error(), "no route") {
		t.Errorf("got %v", err)
	}
	if n := tries.Load(); n != 2*(retries+1)+2 {
		t.Errorf("%d requests", n)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
