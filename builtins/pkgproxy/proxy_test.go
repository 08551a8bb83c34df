package pkgproxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestProxy fetches one URL twice through a proxy and says what the server was asked for.
func TestProxy(t *testing.T) {
	const stamp = "Mon, 02 Jan 2006 15:04:05 GMT"
	content := strings.Repeat("package ", 100_000)
	serve := func(body *string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			when, _ := http.ParseTime(stamp)
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, len(*body)))
			http.ServeContent(w, r, "", when, strings.NewReader(*body))
		}
	}
	tests := []struct {
		about   string
		path    string
		between func(t *testing.T, dir string, body *string)
		refresh bool // the second proxy
		want    string
		sent    int // bodies that the server has sent
	}{
		{about: "a package is sent once", path: "/pool/a_1_all.deb", want: content, sent: 1},
		{about: "an index is sent each time", path: "/dists/InRelease", want: content, sent: 2},
		{about: "a query makes it no package", path: "/get?file=a.deb", want: content, sent: 2},
		{about: "another one at the server is sent", path: "/a.rpm", want: "other", sent: 2,
			between: func(_ *testing.T, _ string, body *string) { *body = "other" }},
		{about: "a refresh takes nothing that is kept", path: "/a.apk", refresh: true, want: content, sent: 2},
		{about: "one that is damaged is sent again", path: "/a.xbps", want: content, sent: 2,
			between: func(t *testing.T, dir string, _ *string) {
				name := only(t, dir)
				data, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				data[headSize+1] ^= 1
				if err := os.WriteFile(name, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}},
		{about: "one that is cut is sent again", path: "/a.deb", want: content, sent: 2,
			between: func(t *testing.T, dir string, _ *string) {
				if err := os.Truncate(only(t, dir), headSize+10); err != nil {
					t.Fatal(err)
				}
			}},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			body := content
			var sent atomic.Int32
			handler := serve(&body)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				counted := &counter{ResponseWriter: w}
				handler(counted, r)
				if counted.n > 0 {
					sent.Add(1)
				}
			}))
			defer server.Close()
			dir := t.TempDir()
			if got := fetch(t, Options{Dir: dir}, server.URL+test.path); got != content {
				t.Fatalf("the first time: got %d bytes, want %d", len(got), len(content))
			}
			if test.between != nil {
				test.between(t, dir, &body)
			}
			if got := fetch(t, Options{Dir: dir, Refresh: test.refresh}, server.URL+test.path); got != test.want {
				t.Errorf("the second time: got %d bytes, want %d", len(got), len(test.want))
			}
			server.Close() // and has ended what it does
			if got := int(sent.Load()); got != test.sent {
				t.Errorf("the server has sent it %d times, want %d", got, test.sent)
			}
		})
	}
}

// What is kept serves where the server does not answer; what was never fetched is an error.
func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "package") }))
	dir := t.TempDir()
	fetch(t, Options{Dir: dir}, server.URL+"/a.deb")
	server.Close()
	if got := fetch(t, Options{Dir: dir}, server.URL+"/a.deb"); got != "package" {
		t.Errorf("got %q, want the package", got)
	}
	if got := fetch(t, Options{Dir: dir}, server.URL+"/b.deb"); !strings.Contains(got, "connection refused") {
		t.Errorf("got %q, want an error", got)
	}
}

// A transfer that ends early is not kept, and seen to have ended early.
func TestCut(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "pack")
	}))
	defer server.Close()
	dir := t.TempDir()
	p, err := Start(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	answer, err := through(t, p).Get(server.URL + "/a.deb")
	if err == nil {
		_, err = io.ReadAll(answer.Body)
		answer.Body.Close()
	}
	if err == nil {
		t.Error("a package that is cut looks whole")
	}
	if names, _ := os.ReadDir(dir); len(names) > 0 {
		t.Errorf("%s is kept", names[0].Name())
	}
}

// What nobody asks for goes.
func TestSweep(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "package") }))
	defer server.Close()
	dir := t.TempDir()
	fetch(t, Options{Dir: dir}, server.URL+"/a.deb")
	old := time.Now().Add(-unusedAfter - time.Hour)
	if err := os.Chtimes(only(t, dir), old, old); err != nil {
		t.Fatal(err)
	}
	fetch(t, Options{Dir: dir}, server.URL+"/index")
	if names, _ := os.ReadDir(dir); len(names) > 0 {
		t.Errorf("%s is still kept", names[0].Name())
	}
}

// A proxy is none for those who take it for a server.
func TestNoServer(t *testing.T) {
	p, err := Start(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	answer, err := http.Get(p.URL() + "/a.deb")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusBadRequest {
		t.Errorf("got %s", answer.Status)
	}
}

// FuzzHead holds that a file with any content is taken for a package only if it is one.
func FuzzHead(f *testing.F) {
	f.Add([]byte(`{"url":"http://x/a.deb","size":0}`))
	f.Add(bytes.Repeat([]byte{' '}, headSize))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		const url = "http://x/a.deb"
		if err := os.WriteFile(filepath.Join(dir, fileOf(url)), data, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := Start(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if found := p.find(url); found != nil {
			defer found.Close()
			if found.head.Size != int64(len(data)-headSize) || len(found.head.SHA256) != 64 {
				t.Errorf("taken for a package: %+v", found.head)
			}
		}
	})
}

type counter struct {
	http.ResponseWriter
	n int
}

func (c *counter) Write(b []byte) (int, error) {
	c.n += len(b)
	return c.ResponseWriter.Write(b)
}

// fetch fetches a URL through a proxy of its own.
func fetch(t *testing.T, o Options, url string) string {
	t.Helper()
	p, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	answer, err := through(t, p).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func through(t *testing.T, p *Proxy) *http.Client {
	proxy, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// only is the one file of a directory.
func only(t *testing.T, dir string) string {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 {
		t.Fatalf("%d files are kept, want 1 (%v)", len(names), err)
	}
	return filepath.Join(dir, names[0].Name())
}
