package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/listing"
)

// builderFor returns a builder with a store, and what it logs.
func builderFor(t *testing.T, dir string) (*Builder, *bytes.Buffer) {
	t.Helper()
	store, err := layer.Open(dir, layer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	return &Builder{Store: store, Log: log, Fetch: &fetch.Client{Store: store, Log: log, Wait: time.Millisecond}}, &said
}

func askLinks(t *testing.T, w Worker, l Listing, patterns ...string) (string, error) {
	t.Helper()
	for _, text := range patterns {
		p, err := listing.ParsePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		l.Patterns = append(l.Patterns, p)
	}
	s := &Step{Builtin: "links", Label: "links", Args: Args{{"url", l.URL}, {"pattern", patterns}, {"anywhere", l.Anywhere}}}
	links, err := Ask(context.Background(), w, s, Links(l))
	var urls []string
	for _, l := range links {
		urls = append(urls, l.URL)
	}
	return strings.Join(urls, " "), err
}

// A page is where the server has sent us in the end, and what it lists is relative to that.
// What is no page is an error, whatever is on it.
func TestLinks(t *testing.T) {
	mux := http.NewServeMux()
	serve := func(path string, status int, media, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", media)
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		})
	}
	serve("/pub/", 200, "text/html", `<a href="1.9/"><a href="1.10/"><a href="latest.iso">`) // and /pub is redirected to it
	serve("/gone/", 404, "text/html", `<a href="1.9/">`)
	serve("/plain", 200, "text/plain", "1.9 1.10")
	serve("/huge", 200, "text/html", strings.Repeat("x", maxPage+1))
	server := httptest.NewServer(mux)
	defer server.Close()
	tests := []struct {
		summary string
		Listing
		pattern string
		want    string
		err     string
	}{
		{"an index", Listing{URL: "/pub/"}, `1\..*`, "/pub/1.9/ /pub/1.10/", ""},
		{"without its slash", Listing{URL: "/pub"}, `latest\.iso`, "/pub/latest.iso", ""},
		{"a text beside others", Listing{URL: "/plain"}, `.*`, "/1.9 /1.10", ""},
		{"anywhere", Listing{URL: "/pub/", Anywhere: true}, `lat`, "/pub/lat", ""},
		{"nothing matches", Listing{URL: "/pub/"}, "2", "", "cannot find links on /pub/: nothing there matches 2; it lists 1.9, 1.10, latest.iso"},
		{"nothing need match", Listing{URL: "/pub/", Optional: true}, "2", "", ""},
		{"a page that is not there", Listing{URL: "/gone/", Optional: true}, ".*", "", "cannot download /gone/: the server says 404 Not Found"},
		{"a page without end", Listing{URL: "/huge"}, ".*", "", "cannot download /huge: it is larger than 16777216 bytes"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			b, _ := builderFor(t, t.TempDir())
			test.URL = server.URL + test.URL
			got, err := askLinks(t, b, test.Listing, test.pattern)
			text := ""
			if err != nil {
				text = strings.ReplaceAll(err.Error(), server.URL, "")
			}
			if got = strings.ReplaceAll(got, server.URL, ""); got != test.want || text != test.err {
				t.Errorf("got %q, %s", got, text)
			}
		})
	}
}

// Where a server does not answer, a page counts as it was last seen if that is allowed, which the
// error tells; one that it says is gone does not.
func TestLinksWithoutServer(t *testing.T) {
	for status, want := range map[int]string{0: "1 2", 500: "1 2", 403: "1 2", 404: "404 Not Found"} {
		code := 200
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			fmt.Fprint(w, "1 2")
		}))
		defer server.Close()
		dir := t.TempDir()
		b, _ := builderFor(t, dir)
		if _, err := askLinks(t, b, Listing{URL: server.URL}, "1"); err != nil {
			t.Fatal(err)
		}
		b.Store.Close()
		if code = status; status == 0 {
			server.Close()
		}
		b, said := builderFor(t, dir)
		_, err := askLinks(t, b, Listing{URL: server.URL}, `\d`)
		if told := strings.Count(fmt.Sprint(err), "; --stale-ok takes what was last seen"); err == nil || told != 1 && code != 404 || told > 0 && code == 404 {
			t.Errorf("%d: without --stale-ok: %v", status, err)
		}
		b.Fetch.StaleOK = true
		got, err := askLinks(t, b, Listing{URL: server.URL}, `\d`)
		got = strings.ReplaceAll(got, server.URL+"/", "")
		if err != nil {
			got = err.Error()
		}
		if !strings.HasSuffix(got, want) || err == nil && !strings.Contains(said.String(), "taken to be as it was last seen") {
			t.Errorf("%d: got %s, want %s; said %s", status, got, want, said)
		}
		b.Store.Close()
	}
}

// The first URL counts that is there, also where a server does not answer HEAD.
func TestFirstFound(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+r.URL.Path)
		switch {
		case strings.HasPrefix(r.URL.Path, "/none"):
			http.NotFound(w, r)
		case r.URL.Path == "/broken":
			w.WriteHeader(500)
		case r.Method == "HEAD" && r.URL.Path == "/get":
			w.WriteHeader(405)
		case r.Method == "HEAD" && r.URL.Path == "/forbidden-none":
			w.WriteHeader(403)
		case r.URL.Path == "/forbidden-none":
			http.NotFound(w, r)
		case r.URL.Path == "/empty" && r.Method == "HEAD":
			w.WriteHeader(501)
		case r.URL.Path == "/empty":
			w.WriteHeader(416)
		default:
			fmt.Fprint(w, "x")
		}
	}))
	defer server.Close()
	tests := []struct{ urls, want, asked string }{
		{"/a /b", "/a", "HEAD/a"},
		{"/none /b", "/b", "HEAD/none HEAD/b"},
		{"/none/1 /get", "/get", "HEAD/none/1 HEAD/get GET/get"},
		{"/forbidden-none /empty", "/empty", "HEAD/forbidden-none GET/forbidden-none HEAD/empty GET/empty"},
		{"/none/1 /none/2", "", "HEAD/none/1 HEAD/none/2"},
	}
	b, _ := builderFor(t, t.TempDir())
	ask := func(w Worker, urls string) (string, error) {
		var list []string
		for _, u := range strings.Fields(urls) {
			list = append(list, server.URL+u)
		}
		got, err := Ask(context.Background(), w, &Step{Args: Args{{"urls", list}}}, FirstFound(list))
		return strings.TrimPrefix(got, server.URL), err
	}
	for _, test := range tests {
		asked = nil
		got, err := ask(b, test.urls)
		if err != nil || got != test.want {
			t.Errorf("%s: got %q, %v", test.urls, got, err)
		}
		if s := strings.Join(asked, " "); s != test.asked {
			t.Errorf("%s: asked %s", test.urls, s)
		}
	}
	if got, _ := ask(new(Planner), "/none /a"); got != "/none" {
		t.Errorf("a plan assumes %s", got)
	}
	if _, err := ask(b, "/broken /a"); err == nil || errors.Is(err, fetch.ErrNotFound) {
		t.Errorf("a server that is broken is no answer: %v", err)
	}
}
