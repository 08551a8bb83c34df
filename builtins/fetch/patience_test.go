package fetch_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"imagebuilder/builtins/fetch"
)

// A server that goes nowhere is given up, in whatever way it does that.
func TestPatience(t *testing.T) {
	const slow = "the server is too slow: "
	tests := []struct {
		summary string
		answer  func(w http.ResponseWriter, r *http.Request, wait func() bool)
		err     string
	}{{
		summary: "says nothing",
		answer:  func(_ http.ResponseWriter, _ *http.Request, wait func() bool) { forever(wait) },
		err:     "the server cannot be reached: " + slow + "no answer within 50ms",
	}, {
		summary: "says nothing after the header",
		answer: func(w http.ResponseWriter, _ *http.Request, wait func() bool) {
			w.(http.Flusher).Flush()
			forever(wait)
		},
		err: "the connection broke: " + slow + "less than 65536 bytes in 50ms",
	}, {
		summary: "redirects and never ends to say so",
		answer: func(w http.ResponseWriter, _ *http.Request, wait func() bool) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
			w.(http.Flusher).Flush()
			forever(wait)
		},
		err: "the server answers with no file: it redirects more than 10 times",
	}, {
		summary: "refuses and never ends to say so",
		answer: func(w http.ResponseWriter, _ *http.Request, wait func() bool) {
			w.WriteHeader(http.StatusServiceUnavailable)
			w.(http.Flusher).Flush()
			forever(wait)
		},
		err: "the server says 503 Service Unavailable",
	}, {
		summary: "sends a byte at a time",
		answer: func(w http.ResponseWriter, _ *http.Request, wait func() bool) {
			for wait() {
				w.Write([]byte("x"))
				w.(http.Flusher).Flush()
			}
		},
		err: "the connection broke: " + slow + "less than 65536 bytes in 50ms",
	}, {
		summary: "sends a byte for each connection",
		answer: func(w http.ResponseWriter, r *http.Request, _ func() bool) {
			start := 0
			w.Header().Set("ETag", `"x"`)
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &start); err == nil {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, 1<<20-1, 1<<20))
				w.WriteHeader(http.StatusPartialContent)
			} else {
				w.Header().Set("Content-Length", fmt.Sprint(1<<20))
			}
			w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		},
		err: "the connection broke: unexpected EOF",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if requests.Add(1) > 60 {
					t.Error("asked for ever")
					http.NotFound(w, r)
					return
				}
				test.answer(w, r, func() bool {
					select {
					case <-r.Context().Done():
						return false
					case <-time.After(time.Millisecond):
						return true
					}
				})
			}))
			defer s.Close()
			c := newClient(t, t.TempDir())
			c.Patience = 50 * time.Millisecond
			_, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/file"})
			if want := "cannot download " + s.URL + "/file: " + test.err; err == nil || err.Error() != want {
				t.Errorf("got %v\nwant %s", err, want)
			}
		})
	}
}

func forever(wait func() bool) {
	for wait() {
	}
}

// A disk that is slower than the server is not held against the server.
func TestASlowDisk(t *testing.T) {
	s := newServer(t)
	s.content = bytes.Repeat(content, 64) // more than buffers on the way hold
	c := newClient(t, t.TempDir())
	c.Patience = 200 * time.Millisecond
	c.Progress = onWrite(func() { time.Sleep(c.Patience / 20) })
	if _, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/file"}); err != nil {
		t.Error(err)
	}
	if got := s.requests(); got != "GET" {
		t.Errorf("requests: %s", got)
	}
}

// onWrite is a Progress that calls a function for each piece that arrives.
type onWrite func()

func (f onWrite) Start(string, int64) io.WriteCloser { return f }
func (f onWrite) Write(p []byte) (int, error)        { f(); return len(p), nil }
func (f onWrite) Close() error                       { return nil }

// What a cut one is taken up with has to be the rest, as long as the first answer said.
func TestARestOfUnknownSize(t *testing.T) {
	const whole = "hello, hello, world"
	for _, known := range []bool{true, false} {
		var log []string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			log = append(log, strings.TrimSpace("GET "+r.Header.Get("Range")))
			w.Header().Set("ETag", `"x"`)
			switch {
			case len(log) == 1:
				if known {
					w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
				}
				w.Write([]byte(whole[:1]))
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			case len(log) == 2:
				w.Header().Set("Content-Range", "bytes 1-11/*")
				w.WriteHeader(http.StatusPartialContent)
				w.Write([]byte(whole[1:12]))
			default:
				http.ServeContent(w, r, "file", time.Time{}, strings.NewReader(whole))
			}
		}))
		f, err := newClient(t, t.TempDir()).Fetch(ctx, fetch.Request{URL: s.URL + "/file"})
		s.Close()
		data, _ := os.ReadFile(f.Path)
		want := map[bool]string{true: "GET, GET bytes=1-, GET bytes=12-", false: "GET, GET bytes=1-, GET"}[known]
		if got := strings.Join(log, ", "); err != nil || string(data) != whole || got != want {
			t.Errorf("got %q, %v\nrequests %s; want %s", data, err, got, want)
		}
	}
}

// Who asks by https relies on it, unless there is a digest.
func TestADowngradeIsSaid(t *testing.T) {
	plain := newServer(t)
	safe := httptest.NewTLSServer(http.RedirectHandler(plain.URL+"/file", http.StatusFound))
	defer safe.Close()
	for _, test := range []struct {
		request fetch.Request
		said    int
	}{
		{fetch.Request{URL: safe.URL + "/file"}, 1},
		{fetch.Request{URL: safe.URL + "/file", SHA256: digest(content)}, 0},
		{fetch.Request{URL: plain.URL + "/file"}, 0},
	} {
		var log bytes.Buffer
		c := newClient(t, t.TempDir())
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
		c.Transport = safe.Client().Transport
		plain.mu.Lock()
		plain.cut = 1
		plain.mu.Unlock()
		if _, err := c.Fetch(ctx, test.request); err != nil {
			t.Fatal(err)
		}
		got := strings.Count(log.String(), "redirected from https to http")
		if got != test.said {
			t.Errorf("%+v: said %d times\n%s", test.request, got, log.String())
		}
	}
}
