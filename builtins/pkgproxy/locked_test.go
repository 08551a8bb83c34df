package pkgproxy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/lock"
	"imagebuilder/builtins/pkgproxy"
)

// A lockedStep is a proxy of a step, as its programs see it.
type lockedStep struct {
	*pkgproxy.Locked
	address string
	client  *http.Client
}

func startLocked(t *testing.T, session *lock.Session) *lockedStep {
	t.Helper()
	l := &pkgproxy.Locked{Lock: session, Log: slog.New(slog.DiscardHandler), Upstream: http.DefaultTransport}
	l.Body = func(_ context.Context, _ string, c lock.Content) (*os.File, error) { return session.Bodies.Open(c) }
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go l.Serve(listener)
	t.Cleanup(func() { listener.Close() })
	via := func(*http.Request) (*url.URL, error) { return url.Parse("http://" + listener.Addr().String()) }
	return &lockedStep{l, listener.Addr().String(), &http.Client{Transport: &http.Transport{Proxy: via, DisableKeepAlives: true}}}
}

// ask makes a request and returns the status and the text, or the error.
func (s *lockedStep) ask(method, target string, header ...string) string {
	req, err := http.NewRequest(method, target, nil)
	if err != nil {
		return err.Error()
	}
	for _, h := range header {
		if name, value, ok := strings.Cut(h, ": "); ok {
			req.Header.Set(name, value)
		}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return "error"
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "error"
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, text)
}

// What programs get while the lock is made, they get from it as well; and the other way round
// they get nothing.
func TestLocked(t *testing.T) {
	content, asked := "content", 0
	archive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch r.URL.Path {
		case "/none":
			http.NotFound(w, r)
		case "/busy":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/forbidden":
			w.WriteHeader(http.StatusForbidden)
		case "/moved":
			http.Redirect(w, r, "/file", http.StatusFound)
		default:
			w.Header().Set("ETag", `"`+content+`"`)
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
		}
	}))
	defer archive.Close()
	bodies := lock.Bodies{Dir: t.TempDir()}
	recording := lock.Open("my.lock", new(lock.File), bodies, true)
	requests := []struct{ method, path, header, answer string }{
		{"GET", "/file", "", "200 content"},
		{"GET", "/file", `If-None-Match: "content"`, "200 content"}, // of whatever time
		{"HEAD", "/head", "", "200 "},
		{"GET", "/part", "Range: bytes=3-", "206 tent"},
		{"GET", "/moved", "", "200 content"},
		{"GET", "/none", "", "404"},
		{"GET", "/forbidden", "", "40"}, // 403, and then 404
	}
	check := func(s *lockedStep, when string) {
		t.Helper()
		for _, r := range requests {
			if got := s.ask(r.method, archive.URL+r.path, r.header); !strings.HasPrefix(got, r.answer) {
				t.Errorf("%s: %s %s: %q, want %q", when, r.method, r.path, got, r.answer)
			}
		}
		if err := s.Explain(nil); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	step := startLocked(t, recording)
	check(step, "while it is made")
	if got := step.ask("GET", archive.URL+"/busy"); got != "503 " {
		t.Errorf("a server that is busy: %s", got)
	}
	if err := step.Explain(nil); err == nil || err.Error() != "cannot lock "+archive.URL+"/busy: the server says 503 Service Unavailable; run it again" {
		t.Errorf("a server that has not said what it has: %v", err)
	}
	merged := recording.Merged(false)
	if n := len(merged.Gets()); n != 4 {
		t.Errorf("%d files are in the lock:\n%s", n, merged.Bytes())
	}

	// The archive changes while it is read.
	content = "another"
	changed := startLocked(t, recording)
	if got := changed.ask("GET", archive.URL+"/file"); got != "error" {
		t.Errorf("the program gets %s", got)
	}
	const said = "the archive changed while it was read; run it again"
	if err := changed.Explain(nil); err == nil || !strings.Contains(err.Error(), said) || recording.Err() == nil {
		t.Errorf("%v, want: %s", err, said)
	}

	asked = 0
	locked := startLocked(t, lock.Open("my.lock", merged, bodies, false))
	check(locked, "from the lock")
	if asked > 0 {
		t.Errorf("%d requests were made", asked)
	}
	for _, r := range []struct{ method, path, answer, err string }{
		{"POST", "/file", "405", "a program wants to POST to " + archive.URL + "/file, which cannot be locked: only GET and HEAD can"},
		{"GET", "/busy", "403", "cannot fetch " + archive.URL + "/busy: it is not in the lock my.lock"},
	} {
		if got := locked.ask(r.method, archive.URL+r.path); !strings.HasPrefix(got, r.answer) {
			t.Errorf("%s %s: %s", r.method, r.path, got)
		}
		if err := locked.Explain(io.EOF); err == nil || !strings.Contains(err.Error(), r.err) {
			t.Errorf("%s %s: error %v, want %s", r.method, r.path, err, r.err)
		}
	}
	// What a program could do without, it may go on without; what is not in the lock it may not.
	if err := locked.Explain(nil); err == nil || strings.Contains(err.Error(), "POST") || !strings.Contains(err.Error(), "/busy") {
		t.Errorf("it has gone on: %v", err)
	}
	for n := range 30 {
		locked.ask("GET", fmt.Sprintf("%s/gone-%d", archive.URL, n))
	}
	if err := locked.Explain(nil); strings.Count(err.Error(), "cannot fetch") != 5 || !strings.Contains(err.Error(), "and more like these") {
		t.Errorf("a program that misses many files: %v", err)
	}
	if asked > 0 {
		t.Errorf("%d requests were made", asked)
	}
}
