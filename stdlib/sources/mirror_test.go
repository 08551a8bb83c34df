package sources_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/sandbox"
)

// The mirror that the tests of all sources download from. What signs its files is in
// sign_test.go, what is in its archives in archive_test.go, how a recipe is run in
// build_test.go, and what is the same for all sources in scenario_test.go.

// TestMain makes this process trust the certificate of the mirrors.
func TestMain(m *testing.M) {
	if code, ok := sandbox.Main(build.Tasks()...); ok {
		os.Exit(code)
	}
	os.Exit(trusting(m))
}

// trusting runs the tests with the one certificate that all servers of httptest have. It is
// looked up by the name in SSL_CERT_FILE when the first connection is made.
func trusting(m *testing.M) int {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	dir, err := os.MkdirTemp("", "certificate")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "mirror.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o644); err != nil {
		panic(err)
	}
	os.Setenv("SSL_CERT_FILE", file)
	return m.Run()
}

// A mirror serves a tree of files over http and https, with listings of its directories.
// Paths have no leading slash.
type mirror struct {
	http, https string // URLs of its root, without a slash at the end

	mu        sync.Mutex
	files     map[string][]byte
	redirects map[string]string
	troubles  map[string]trouble
	style     style
	asked     []string // "METHOD path?query" of each request
}

// newMirror starts a mirror without files, with the listings of nginx.
func newMirror(t *testing.T) *mirror {
	m := &mirror{files: make(map[string][]byte), redirects: make(map[string]string), troubles: make(map[string]trouble), style: nginx}
	plain, secure := httptest.NewServer(m), httptest.NewTLSServer(m)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	m.http, m.https = plain.URL, secure.URL
	return m
}

// put adds a file, or replaces it.
func (m *mirror) put(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name] = data
}

// get returns a file of the mirror, which must be there.
func (m *mirror) get(name string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.files[name]
	if !ok {
		panic("the mirror has no file " + name)
	}
	return data
}

// remove takes away a file, or a directory with all below it.
func (m *mirror) remove(name string) { m.move(name, func(string) string { return "" }) }

// rename gives a file, or a directory with all below it, another name.
func (m *mirror) rename(name, to string) { m.move(name, func(rest string) string { return to + rest }) }

func (m *mirror) move(name string, to func(rest string) string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := false
	for file, data := range maps.Clone(m.files) {
		rest, ok := strings.CutPrefix(file, name)
		if !ok || rest != "" && rest[0] != '/' {
			continue
		}
		found = true
		delete(m.files, file)
		if renamed := to(rest); renamed != "" {
			m.files[renamed] = data
		}
	}
	if !found {
		panic("the mirror has no " + name)
	}
}

// flip changes one bit of a file.
func (m *mirror) flip(name string) {
	data := bytes.Clone(m.get(name))
	data[len(data)/2] ^= 1
	m.put(name, data)
}

// redirect sends who asks for a path to another path or URL. A path that ends in * stands
// for all that begin with it, and the rest goes where * stands in the other.
func (m *mirror) redirect(name, to string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.redirects[name] = to
}

// hinder makes trouble for who asks for a path; nil ends it.
func (m *mirror) hinder(name string, t trouble) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.troubles[name] = t
}

// requests returns what was asked for since the last call.
func (m *mirror) requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() { m.asked = nil }()
	return m.asked
}

// ServeHTTP implements http.Handler.
func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	m.mu.Lock()
	m.asked = append(m.asked, r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), "/"))
	answer := m.answer(name, r)
	if t := m.troubles[name]; t != nil {
		answer = t(answer)
	}
	m.mu.Unlock()
	answer.send(w, r)
}

// An answer is what the mirror says to one request.
type answer struct {
	status int
	to     string // of a redirect
	kind   string // content type
	body   []byte
	cut    bool // after half of the body
}

func (m *mirror) answer(name string, r *http.Request) answer {
	if to := m.redirected(name); to != "" {
		return answer{status: http.StatusFound, to: to}
	}
	if data, ok := m.files[name]; ok {
		return answer{status: http.StatusOK, kind: "application/octet-stream", body: data}
	}
	dir := strings.TrimSuffix(name, "/")
	entries := m.entries(dir)
	switch {
	case len(entries) == 0 && dir != "":
		return answer{status: http.StatusNotFound, kind: "text/html", body: []byte("<html><h1>404 Not Found</h1></html>")}
	case r.URL.Query().Has("jsontable"):
		return answer{status: http.StatusOK, kind: "application/json", body: []byte(jsonTable(entries))}
	case dir == name && name != "":
		to := "/" + name + "/"
		if r.URL.RawQuery != "" {
			to += "?" + r.URL.RawQuery
		}
		return answer{status: http.StatusMovedPermanently, to: to}
	}
	return answer{status: http.StatusOK, kind: "text/html", body: []byte(m.style("/"+dir, entries))}
}

func (m *mirror) redirected(name string) string {
	for from, to := range m.redirects {
		if rest, ok := strings.CutPrefix(name, strings.TrimSuffix(from, "*")); ok && (rest == "" || strings.HasSuffix(from, "*")) {
			to = strings.Replace(to, "*", rest, 1)
			if !strings.Contains(to, "://") {
				to = "/" + to
			}
			return to
		}
	}
	return ""
}

// entries returns what is in a directory, sorted; names of directories end in a slash.
func (m *mirror) entries(dir string) []string {
	seen := make(map[string]bool)
	for file := range m.files {
		rest, ok := strings.CutPrefix(file, dir+"/")
		if dir == "" {
			rest, ok = file, true
		}
		if ok {
			first, _, below := strings.Cut(rest, "/")
			if below {
				first += "/"
			}
			seen[first] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func (a answer) send(w http.ResponseWriter, r *http.Request) {
	switch {
	case a.to != "":
		http.Redirect(w, r, a.to, a.status)
	case a.status != http.StatusOK:
		w.Header().Set("Content-Type", a.kind)
		w.WriteHeader(a.status)
		w.Write(a.body)
	case a.cut && r.Method != http.MethodHead:
		w.Header().Set("Content-Length", fmt.Sprint(len(a.body)))
		w.Write(a.body[:len(a.body)/2])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	default:
		w.Header().Set("Content-Type", a.kind)
		w.Header().Set("ETag", `"`+sha256Of(a.body)+`"`)
		http.ServeContent(w, r, path.Base(r.URL.Path), time.Time{}, bytes.NewReader(a.body))
	}
}

// A trouble changes an answer.
type trouble func(answer) answer

// notFound is an error page that has the same links.
func notFound(a answer) answer { a.status, a.to = http.StatusNotFound, ""; return a }

// once is a server that is down for one request.
func once() trouble {
	down := true
	return func(a answer) answer {
		if down {
			down = false
			return answer{status: http.StatusInternalServerError, kind: "text/plain", body: []byte("later")}
		}
		return a
	}
}

// cut is a connection that breaks every time, which is given up after some seconds.
func cut(a answer) answer { a.cut = true; return a }

// portal is a page with a status as if it was the file.
func portal(answer) answer {
	return answer{status: http.StatusOK, kind: "text/html", body: []byte("<!DOCTYPE html><html><body>Please log in to the network</body></html>")}
}

func sha256Of(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func sha512Of(data []byte) string {
	sum := sha512.Sum512(data)
	return hex.EncodeToString(sum[:])
}
