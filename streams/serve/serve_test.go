package serve_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imagebuilder/streams/serve"
)

const version = "images/ubuntu/noble/amd64/default/20240101_0000"

// site makes a tree with one of everything.
func site(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	files := map[string]string{
		"root/index.html":                         "<p>page</p>",
		"root/streams/v1/index.json":              `{"index":{}}`,
		"root/streams/v1/stale.json":              "new",
		"root/streams/.state/lock":                "1",
		"root/.htpasswd":                          "secret",
		"root/" + version + "/rootfs.squashfs":    strings.Repeat("0123456789", 10),
		"root/" + version + "/SHA256SUMS":         "sums",
		"root/images/ubuntu/.20240102/disk.qcow2": "upload",
		"outside": "secret",
	}
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	write(t, filepath.Join(root, "streams/v1/index.json.gz"), zipped(`{"index":{}}`))
	write(t, filepath.Join(root, "streams/v1/stale.json.gz"), zipped("old"))
	if err := os.Chtimes(filepath.Join(root, "streams/v1/stale.json.gz"), time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"link": "../outside", "streams/v1/link.json": "../../../outside", "dir": ".."} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func zipped(text string) string {
	var buf bytes.Buffer
	zip := gzip.NewWriter(&buf)
	io.WriteString(zip, text)
	zip.Close()
	return buf.String()
}

func listen(t *testing.T, opts serve.ServerOptions) *serve.Server {
	t.Helper()
	opts.Address = "127.0.0.1:0"
	s, err := serve.Listen(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestHandler(t *testing.T) {
	handler := listen(t, serve.ServerOptions{Root: site(t), Plain: true}).Handler()
	const short = "public, max-age=60, must-revalidate"
	tests := []struct {
		summary string
		method  string
		path    string
		header  map[string]string
		status  int
		body    string
		want    map[string]string
	}{{
		summary: "the page",
		path:    "/",
		status:  200,
		body:    "<p>page</p>",
		want:    map[string]string{"Content-Type": "text/html; charset=utf-8", "Cache-Control": short, "X-Content-Type-Options": "nosniff"},
	}, {
		summary: "the index",
		path:    "/streams/v1/index.json",
		status:  200,
		body:    `{"index":{}}`,
		want:    map[string]string{"Content-Type": "application/json", "Content-Encoding": "", "Vary": "Accept-Encoding"},
	}, {
		summary: "its compressed form",
		path:    "/streams/v1/index.json",
		header:  map[string]string{"Accept-Encoding": "br, gzip;q=0.5"},
		status:  200,
		body:    zipped(`{"index":{}}`),
		want:    map[string]string{"Content-Type": "application/json", "Content-Encoding": "gzip"},
	}, {
		summary: "not for a client that refuses it",
		path:    "/streams/v1/index.json",
		header:  map[string]string{"Accept-Encoding": "*, gzip;q=0.0"},
		status:  200,
		body:    `{"index":{}}`,
	}, {
		summary: "nor one that is older than the file",
		path:    "/streams/v1/stale.json",
		header:  map[string]string{"Accept-Encoding": "gzip"},
		status:  200,
		body:    "new",
	}, {
		summary: "an image",
		path:    "/" + version + "/rootfs.squashfs",
		status:  200,
		body:    strings.Repeat("0123456789", 10),
		want:    map[string]string{"Content-Type": "application/octet-stream", "Cache-Control": short, "Accept-Ranges": "bytes"},
	}, {
		summary: "a part of it",
		path:    "/" + version + "/rootfs.squashfs",
		header:  map[string]string{"Range": "bytes=95-"},
		status:  206,
		body:    "56789",
		want:    map[string]string{"Content-Range": "bytes 95-99/100"},
	}, {
		summary: "a part that is not there",
		path:    "/" + version + "/rootfs.squashfs",
		header:  map[string]string{"Range": "bytes=200-"},
		status:  416,
		body:    "invalid range: failed to overlap\n",
	}, {
		summary: "only the head",
		method:  "HEAD",
		path:    "/" + version + "/rootfs.squashfs",
		status:  200,
		want:    map[string]string{"Content-Length": "100"},
	}, {
		summary: "what may change in a version",
		path:    "/" + version + "/SHA256SUMS",
		status:  200,
		body:    "sums",
		want:    map[string]string{"Cache-Control": short},
	},
		{summary: "no file", path: "/nothing", status: 404},
		{summary: "no directory", path: "/images", status: 404},
		{summary: "no listing", path: "/images/", status: 404},
		{summary: "a file is no directory", path: "/index.html/x", status: 404},
		{summary: "no hidden file", path: "/.htpasswd", status: 404},
		{summary: "no state", path: "/streams/.state/lock", status: 404},
		{summary: "no upload", path: "/images/ubuntu/.20240102/disk.qcow2", status: 404},
		{summary: "no way out", path: "/../outside", status: 404},
		{summary: "no way out in the middle", path: "/streams/../../outside", status: 404},
		{summary: "no link", path: "/link", status: 404},
		{summary: "no link to a directory", path: "/dir/outside", status: 404},
		{summary: "no link among the catalogs", path: "/streams/v1/link.json", status: 404},
		{summary: "no doubled slash", path: "//index.html", status: 404},
		{summary: "no zero byte", path: "/a\x00b", status: 404},
		{summary: "a name that is too long", path: "/" + strings.Repeat("x", 300), status: 404},
		{summary: "no upload by this way", method: "PUT", path: "/index.html", status: 405, want: map[string]string{"Allow": "GET, HEAD"}},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			if test.method != "" {
				r.Method = test.method
			}
			r.URL.Path = test.path
			for key, value := range test.header {
				r.Header.Set(key, value)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != test.status {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			if test.body != "" && w.Body.String() != test.body {
				t.Errorf("body %q", w.Body)
			}
			if strings.Contains(w.Body.String(), "secret") {
				t.Error("it tells a secret")
			}
			for key, value := range test.want {
				if got := w.Header().Get(key); got != value {
					t.Errorf("%s: %q", key, got)
				}
			}
		})
	}
}

// TestHandlerLinks holds that links are followed where that is wanted, and never out of
// the tree.
func TestHandlerLinks(t *testing.T) {
	root := site(t)
	write(t, filepath.Join(root, "images/real/file"), "x")
	if err := os.Symlink("real", filepath.Join(root, "images/linked")); err != nil {
		t.Fatal(err)
	}
	for _, links := range []bool{false, true} {
		h := listen(t, serve.ServerOptions{Root: root, Plain: true, Links: links}).Handler()
		for path, followed := range map[string]bool{"/images/linked/file": true, "/link": false, "/streams/v1/link.json": false} {
			want := http.StatusNotFound
			if followed && links {
				want = http.StatusOK
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			if w.Code != want {
				t.Errorf("links %v: %s: %d", links, path, w.Code)
			}
		}
	}
}

// TestETag holds that a client which has a file need not get it again, that the
// compressed form is another one, and that a replaced file is.
func TestETag(t *testing.T) {
	root := site(t)
	handler := listen(t, serve.ServerOptions{Root: root, Plain: true}).Handler()
	get := func(header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/streams/v1/index.json", nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	plain, zipped := get().Header().Get("ETag"), get("Accept-Encoding", "gzip").Header().Get("ETag")
	if plain == "" || strings.HasPrefix(plain, "W/") || plain == zipped {
		t.Errorf("%s and %s", plain, zipped)
	}
	if w := get("If-None-Match", plain); w.Code != 304 || w.Body.Len() > 0 {
		t.Errorf("status %d", w.Code)
	}
	if w := get("If-None-Match", zipped); w.Code != 200 {
		t.Errorf("the other form's: status %d", w.Code)
	}
	write(t, filepath.Join(root, "new"), `{"index":{} }`)
	if err := os.Rename(filepath.Join(root, "new"), filepath.Join(root, "streams/v1/index.json")); err != nil {
		t.Fatal(err)
	}
	if w := get("If-None-Match", plain); w.Code != 200 {
		t.Errorf("after it was replaced: status %d", w.Code)
	}
}

// TestRun holds that a client which trusts the certificate that was made gets an
// answer, that the certificate stays, and that the server ends with its context.
func TestRun(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	s := listen(t, serve.ServerOptions{Root: site(t), StateDir: state})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	pem, err := os.ReadFile(s.CertFile())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) { // localhost needs no /etc/hosts
		return new(net.Dialer).DialContext(ctx, network, s.Addr().String())
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DialContext: dial}
	client := &http.Client{Transport: transport}
	_, port, _ := net.SplitHostPort(s.Addr().String())
	for _, url := range []string{s.URL(), "https://localhost:" + port} {
		response, err := client.Get(url + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if string(body) != "<p>page</p>" {
			t.Errorf("body %q", body)
		}
	}
	if st, err := os.Stat(filepath.Join(state, "key.pem")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", st.Mode(), err)
	}
	transport.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	listen(t, serve.ServerOptions{Root: site(t), StateDir: state})
	if again, _ := os.ReadFile(s.CertFile()); !bytes.Equal(again, pem) {
		t.Error("another certificate was made")
	}
}

// TestGrace holds that a download under way is given its time, and no more.
func TestGrace(t *testing.T) {
	root := site(t)
	big := filepath.Join(root, version, "disk.qcow2")
	write(t, big, strings.Repeat("x", 64<<20)) // more than sockets hold
	s := listen(t, serve.ServerOptions{Root: root, Plain: true, Grace: 50 * time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	response, err := http.Get(s.URL() + "/" + version + "/disk.qcow2")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Error("the whole file came after the end")
	}
}

// TestCertificateNames holds that the server says what its certificate is not for.
func TestCertificateNames(t *testing.T) {
	root, state := site(t), t.TempDir()
	first := listen(t, serve.ServerOptions{Root: root, StateDir: state, Names: []string{"here.example", "192.0.2.7"}})
	given := func(o *serve.ServerOptions) {
		o.StateDir, o.CertFile, o.KeyFile = "", first.CertFile(), filepath.Join(state, "key.pem")
	}
	tests := []struct {
		summary string
		edit    func(*serve.ServerOptions)
		want    string
	}{
		{"the names that it was made for", func(o *serve.ServerOptions) { o.Names = []string{"here.example", "192.0.2.7"} }, ""},
		{"an address of any", func(o *serve.ServerOptions) { o.Address = "0.0.0.0:0" }, ""},
		{"an address of any, in short", func(o *serve.ServerOptions) { o.Address = ":0" }, ""},
		{"another name", func(o *serve.ServerOptions) { o.Names = []string{"there.example"} }, "Own certificate does not name what is to be served, clients refuse it; another is made when it is removed\" name=there.example"},
		{"another address", func(o *serve.ServerOptions) { o.Address = "127.0.0.2:0" }, "name=127.0.0.2"},
		{"a given one", func(o *serve.ServerOptions) { given(o); o.Address = "127.0.0.2:0" }, "\"Certificate does not name what is to be served, clients refuse it\" name=127.0.0.2"},
		{"an old one", func(o *serve.ServerOptions) {
			given(o)
			o.Clock = func() time.Time { return time.Now().AddDate(20, 0, 0) }
		}, "Certificate has expired"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			var log bytes.Buffer
			opts := serve.ServerOptions{Root: root, StateDir: state, Address: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(&log, nil))}
			test.edit(&opts)
			s, err := serve.Listen(opts)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got := log.String(); !strings.Contains(got, test.want) || test.want == "" && got != "" {
				t.Errorf("it says %s", got)
			}
		})
	}
}

func TestListenErrors(t *testing.T) {
	root := site(t)
	tests := []struct {
		summary string
		opts    serve.ServerOptions
		err     string
	}{
		{"no directory", serve.ServerOptions{Root: "/nowhere", Plain: true}, "no such file"},
		{"no certificate", serve.ServerOptions{Root: root}, "neither a certificate nor a directory"},
		{"half of a certificate", serve.ServerOptions{Root: root, CertFile: "x"}, "needs its key"},
		{"a certificate that is not there", serve.ServerOptions{Root: root, CertFile: "/x", KeyFile: "/y"}, "cannot load the certificate"},
		{"a bad address", serve.ServerOptions{Root: root, Plain: true, Address: "nonsense"}, "nonsense"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			s, err := serve.Listen(test.opts)
			if err == nil {
				s.Close()
				t.Fatal("it listens")
			}
			if !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v", err)
			}
		})
	}
}
