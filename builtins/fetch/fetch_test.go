package fetch_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/layer"
)

var ctx = context.Background()

func newClient(t *testing.T, dir string) *fetch.Client {
	t.Helper()
	store, err := layer.Open(dir, layer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return &fetch.Client{Store: store, Log: slog.New(slog.DiscardHandler), Wait: time.Millisecond}
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

var content = bytes.Repeat([]byte("0123456789abcdef"), 1<<12)

// serve answers /file as asked and logs the requests.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	log     []string
	content []byte
	fails   int  // answer 500 that often first
	cut     int  // break the connection after half the bytes, that often
	plain   bool // no validators, no ranges
	gone    bool // answer 404
}

func newServer(t *testing.T) *server {
	s := &server{content: content}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := r.Method
	for _, h := range []string{"Range", "If-Range", "If-None-Match"} {
		if v := r.Header.Get(h); v != "" {
			line += " " + h
		}
	}
	s.log = append(s.log, line)
	if s.fails > 0 {
		s.fails--
		http.Error(w, "later", http.StatusInternalServerError)
		return
	}
	if s.gone {
		http.NotFound(w, r)
		return
	}
	if s.cut > 0 {
		s.cut--
		if !s.plain {
			w.Header().Set("ETag", `"`+digest(s.content)+`"`)
		}
		start := 0
		if !s.plain && r.Header.Get("Range") != "" {
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &start)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, len(s.content)-1, len(s.content)))
			w.Header().Set("Content-Length", fmt.Sprint(len(s.content)-start))
			w.WriteHeader(http.StatusPartialContent)
		} else {
			w.Header().Set("Content-Length", fmt.Sprint(len(s.content)))
		}
		w.Write(s.content[start : start+(len(s.content)-start)/2])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	if s.plain {
		w.Write(s.content)
		return
	}
	w.Header().Set("ETag", `"`+digest(s.content)+`"`)
	http.ServeContent(w, r, "file", time.Time{}, bytes.NewReader(s.content))
}

func (s *server) requests() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.log = nil }()
	return strings.Join(s.log, ", ")
}

func TestFetch(t *testing.T) {
	tests := []struct {
		summary  string
		server   func(*server)
		request  fetch.Request
		requests string
		err      string
	}{{
		summary:  "a whole file",
		requests: "GET",
	}, {
		summary:  "a file with the digest it must have",
		request:  fetch.Request{SHA256: strings.ToUpper(digest(content))},
		requests: "GET",
	}, {
		summary:  "a file with another digest",
		request:  fetch.Request{SHA256: digest(nil)},
		requests: "GET",
		err:      "cannot download URL: it has the SHA-256 " + digest(content) + ", not " + digest(nil),
	}, {
		summary:  "a file that is shorter than it has to be",
		server:   func(s *server) { s.plain = true },
		request:  fetch.Request{Size: int64(len(content)) + 1},
		requests: "GET, GET, GET, GET, GET",
		err:      "cannot download URL: the connection broke: 65536 bytes of 65537 have come: unexpected EOF",
	}, {
		summary:  "a file that is longer than it has to be",
		request:  fetch.Request{Size: int64(len(content)) - 1},
		requests: "GET",
		err:      "cannot download URL: it is larger than 65535 bytes",
	}, {
		summary:  "an error of the server that goes away",
		server:   func(s *server) { s.fails = 2 },
		requests: "GET, GET, GET",
	}, {
		summary:  "an error of the server that stays",
		server:   func(s *server) { s.fails = 99 },
		requests: "GET, GET, GET, GET, GET",
		err:      "cannot download URL: the server says 500 Internal Server Error",
	}, {
		summary:  "a missing file is not asked for twice",
		server:   func(s *server) { s.gone = true },
		requests: "GET",
		err:      "cannot download URL: the server says 404 Not Found",
	}, {
		summary:  "a cut connection is taken up where it broke",
		server:   func(s *server) { s.cut = 3 },
		requests: "GET, GET Range If-Range, GET Range If-Range, GET Range If-Range",
	}, {
		summary:  "where the server knows no ranges, from the start",
		server:   func(s *server) { s.cut, s.plain = 2, true },
		requests: "GET, GET, GET",
	}, {
		summary:  "a file larger than wanted",
		request:  fetch.Request{MaxSize: 100},
		requests: "GET",
		err:      "cannot download URL: it is larger than 100 bytes",
	}, {
		summary: "another scheme",
		request: fetch.Request{URL: "ftp://x/y"},
		err:     `not an http or https URL: "ftp://x/y"`,
	}, {
		summary: "no digest",
		request: fetch.Request{SHA256: "abc"},
		err:     `not a SHA-256 of 64 hex digits: "abc"`,
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			s := newServer(t)
			if test.server != nil {
				test.server(s)
			}
			if test.request.URL == "" {
				test.request.URL = s.URL + "/file"
			}
			f, err := newClient(t, t.TempDir()).Fetch(ctx, test.request)
			if got := s.requests(); got != test.requests {
				t.Errorf("requests: %s; want: %s", got, test.requests)
			}
			if test.err != "" {
				if err == nil || err.Error() != strings.Replace(test.err, "URL", test.request.URL, 1) && err.Error() != test.err {
					t.Fatalf("got %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if data, _ := os.ReadFile(f.Path); !bytes.Equal(data, content) || f.SHA256 != digest(content) || f.Size != int64(len(content)) {
				t.Errorf("%d bytes, %+v", len(data), f)
			}
		})
	}
}

// What comes after a cut is taken for the rest only if the server says that it is.
func TestRanges(t *testing.T) {
	size := len(content)
	tests := []struct {
		summary     string
		first, last int    // of the bytes that answer a range request
		header      string // Content-Range, if it is not what is sent
		requests    string
	}{
		{"from the start on", 0, size, "", "GET, GET Range, GET"},
		{"from elsewhere", size / 4, size, "", "GET, GET Range, GET"},
		{"another length than said", size / 2, size - 1, fmt.Sprintf("bytes %d-%d/%d", size/2, size-1, size), "GET, GET Range, GET"},
		{"no range", size / 2, size, "none", "GET, GET Range, GET"},
		{"a piece", size / 2, size/2 + 100, "", "GET, GET Range, GET Range"},
		{"of a size that is not known", size / 2, size, fmt.Sprintf("bytes %d-%d/*", size/2, size-1), "GET, GET Range"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			var log []string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"x"`)
				ranged := r.Header.Get("Range") != ""
				log = append(log, strings.TrimSpace("GET "+map[bool]string{true: "Range"}[ranged]))
				switch {
				case len(log) == 1:
					w.Header().Set("Content-Length", fmt.Sprint(size))
					w.Write(content[:size/2])
					w.(http.Flusher).Flush()
					panic(http.ErrAbortHandler)
				case len(log) == 2 && ranged:
					header := test.header
					if header == "" {
						header = fmt.Sprintf("bytes %d-%d/%d", test.first, test.last-1, size)
					}
					w.Header().Set("Content-Range", header)
					w.Header().Set("Content-Length", fmt.Sprint(test.last-test.first))
					w.WriteHeader(http.StatusPartialContent)
					w.Write(content[test.first:test.last])
				default:
					http.ServeContent(w, r, "file", time.Time{}, bytes.NewReader(content))
				}
			}))
			defer s.Close()
			f, err := newClient(t, t.TempDir()).Fetch(ctx, fetch.Request{URL: s.URL + "/file"})
			if err != nil {
				t.Fatal(err)
			}
			if data, _ := os.ReadFile(f.Path); !bytes.Equal(data, content) {
				t.Errorf("%d bytes, want %d", len(data), size)
			}
			if got := strings.Join(log, ", "); got != test.requests {
				t.Errorf("requests: %s; want: %s", got, test.requests)
			}
		})
	}
}

// A file in the store that is no longer what was downloaded is downloaded again.
func TestADamagedDownload(t *testing.T) {
	damages := map[string]func(string) error{
		"removed":     os.Remove,
		"truncated":   func(file string) error { return os.Truncate(file, 100) },
		"overwritten": func(file string) error { return os.WriteFile(file, bytes.ToUpper(content), 0o600) },
		"overwritten with its time kept": func(file string) error {
			return errors.Join(os.WriteFile(file, bytes.ToUpper(content), 0o600), os.Chtimes(file, time.Time{}, time.Unix(0, 0)))
		},
		"no response": func(file string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(file), "response.json"), []byte("{}"), 0o600)
		},
	}
	for name, damage := range damages {
		for _, sum := range []string{"", digest(content)} {
			s := newServer(t)
			dir := t.TempDir()
			for range 2 {
				c := newClient(t, dir)
				f, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/file", SHA256: sum})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if data, _ := os.ReadFile(f.Path); !bytes.Equal(data, content) {
					t.Errorf("%s: got %d other bytes", name, len(data))
				}
				c.Store.Close()
				time.Sleep(10 * time.Millisecond) // the clock of files is coarse
				if err := damage(f.Path); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.requests(); got != "GET, GET" {
				t.Errorf("%s: requests %s", name, got)
			}
		}
	}
}

// A disk that forgets changes no times: where nothing is to be taken for granted, the file
// is read.
func TestARefreshReadsDownloads(t *testing.T) {
	s := newServer(t)
	dir := t.TempDir()
	get := func(options layer.Options) []byte {
		store, err := layer.Open(dir, options)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		c := &fetch.Client{Store: store, Log: slog.New(slog.DiscardHandler)}
		f, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/file", SHA256: digest(content)})
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		note, err := os.ReadFile(f.Note)
		// As if the file had not been written to since it was stored.
		err = errors.Join(err, os.WriteFile(f.Path, bytes.ToUpper(content), 0o600), os.WriteFile(f.Note, note, 0o600))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for i, options := range []layer.Options{{}, {Refresh: true}, {NoCache: true}} {
		if got := get(options); !bytes.Equal(got, content) {
			t.Errorf("%d: got other bytes", i)
		}
		if got := s.requests(); got != "GET" {
			t.Errorf("%d: requests %s", i, got)
		}
	}
}

// Many servers label a .tar.gz as compressed on the way, which it is not.
func TestContentEncoding(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Write(content)
	w.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("asked for the encoding %q", got)
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(packed.Bytes())
	}))
	defer s.Close()
	_, err := newClient(t, t.TempDir()).Fetch(ctx, fetch.Request{URL: s.URL + "/file.tar.gz", SHA256: digest(packed.Bytes())})
	if err != nil {
		t.Error(err)
	}
}

// A server that cuts every time and has no ranges does not keep a run busy for ever.
func TestNoRangesAndNoEnd(t *testing.T) {
	requests := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		w.Header().Set("ETag", `"x"`)
		if r.Header.Get("Range") != "" {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:100])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	if _, err := newClient(t, t.TempDir()).Fetch(ctx, fetch.Request{URL: s.URL + "/file"}); err == nil || requests > 10 {
		t.Errorf("%d requests, then %v", requests, err)
	}
}

func TestFetchAgain(t *testing.T) {
	s := newServer(t)
	dir := t.TempDir()
	fetchIt := func(sum string) string {
		t.Helper()
		f, err := newClient(t, dir).Fetch(ctx, fetch.Request{URL: s.URL + "/file", SHA256: sum})
		if err != nil {
			t.Fatal(err)
		}
		return f.SHA256
	}
	steps := []struct {
		summary  string
		sum      string
		content  string // new on the server, if not empty
		requests string
	}{
		{"the first time", "", "one", "GET"},
		{"unchanged", "", "", "GET If-None-Match"},
		{"changed", "", "two", "GET If-None-Match"},
		{"by digest", digest([]byte("two")), "", "GET"},
		{"by digest again", digest([]byte("two")), "", ""},
	}
	for _, step := range steps {
		if step.content != "" {
			s.content = []byte(step.content)
		}
		if got := fetchIt(step.sum); got != digest(s.content) {
			t.Errorf("%s: got %s", step.summary, got)
		}
		if got := s.requests(); got != step.requests {
			t.Errorf("%s: requests %q, want %q", step.summary, got, step.requests)
		}
	}
}

func TestAnEndedDownloadGoesOnInTheNextRun(t *testing.T) {
	s := newServer(t)
	s.cut = 1
	dir := t.TempDir()
	c := newClient(t, dir)
	c.Wait = time.Hour // the run ends while it waits to try again
	ctx, cancel := context.WithCancelCause(ctx)
	cause := errors.New("enough")
	c.Progress = onClose(func() { cancel(cause) })
	if _, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/file"}); !errors.Is(err, cause) {
		t.Fatalf("got %v", err)
	}
	c.Store.Close()
	s.requests()
	if _, err := newClient(t, dir).Fetch(context.Background(), fetch.Request{URL: s.URL + "/file"}); err != nil {
		t.Fatal(err)
	}
	if got := s.requests(); got != "GET Range If-Range" {
		t.Errorf("requests: %s", got)
	}
}

// Where nothing has come there is nothing to take up.
func TestAFailedDownloadLeavesNothing(t *testing.T) {
	s := newServer(t)
	s.gone = true
	c := newClient(t, t.TempDir())
	if _, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/file"}); err == nil {
		t.Error("it has not failed")
	}
	if names, _ := os.ReadDir(c.Store.Partial()); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// onClose is a Progress that calls a function when a download ends.
type onClose func()

func (f onClose) Start(string, int64) io.WriteCloser { return f }
func (f onClose) Write(p []byte) (int, error)        { return len(p), nil }
func (f onClose) Close() error                       { f(); return nil }

func TestOneDownloadForMany(t *testing.T) {
	s := newServer(t)
	dir := t.TempDir()
	var group sync.WaitGroup
	var failed atomic.Int32
	for range 6 {
		c := newClient(t, dir)
		group.Go(func() {
			if _, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/file", SHA256: digest(content)}); err != nil {
				t.Error(err)
				failed.Add(1)
			}
		})
	}
	group.Wait()
	if got := s.requests(); got != "GET" {
		t.Errorf("requests: %s", got)
	}
}

func TestUnreachable(t *testing.T) {
	s := newServer(t)
	url := s.URL + "/file"
	s.Close()
	_, err := newClient(t, t.TempDir()).Fetch(ctx, fetch.Request{URL: url})
	if err == nil || !strings.HasPrefix(err.Error(), "cannot download "+url+": the server cannot be reached: dial tcp ") {
		t.Errorf("got %v", err)
	}
}

// A server may ask for patience, but not for an hour of it, and not in silence.
func TestRetryAfter(t *testing.T) {
	requests := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests++; requests == 1 {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Write(content)
	}))
	defer s.Close()
	var log bytes.Buffer
	c := newClient(t, t.TempDir())
	c.MaxWait, c.Log = time.Millisecond, slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/file"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "retry_after=3600") {
		t.Errorf("logged: %s", log.String())
	}
}
