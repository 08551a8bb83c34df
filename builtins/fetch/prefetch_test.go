package fetch_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"imagebuilder/builtins/fetch"
)

// Files that will be asked for come side by side, but no more from one host than is fair,
// each over a connection of its own, and once.
func TestPrefetch(t *testing.T) {
	var mu sync.Mutex
	var now, most int
	asked := make(map[string]int)
	connections := make(map[string]bool)
	together := make(chan struct{}) // closed when several are answered at once
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		connections[r.RemoteAddr] = true
		now++
		if most = max(most, now); now == 4 && most == 4 {
			select {
			case <-together:
			default:
				close(together)
			}
		}
		mu.Unlock()
		select {
		case <-together:
		case <-time.After(10 * time.Second):
		}
		if strings.HasSuffix(r.URL.Path, "/7") {
			http.NotFound(w, r)
		} else {
			w.Write([]byte(r.URL.Path))
		}
		mu.Lock()
		now--
		mu.Unlock()
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	c := newClient(t, t.TempDir())
	trusted := x509.NewCertPool()
	trusted.AddCert(s.Certificate())
	c.Roots = trusted
	var wishes []fetch.Wish
	for i := range 10 {
		wishes = append(wishes, fetch.Wish{Request: fetch.Request{URL: fmt.Sprintf("%s/%d", s.URL, i)}})
	}
	stop := c.Prefetch(ctx, wishes)
	defer stop()
	for i, w := range wishes {
		f, err := c.Fetch(ctx, w.Request)
		if i == 7 {
			if !errors.Is(err, fetch.ErrNotFound) {
				t.Errorf("%d: %v", i, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, _ := os.ReadFile(f.Path); string(data) != fmt.Sprintf("/%d", i) {
			t.Errorf("%d: got %q", i, data)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if most != 4 || len(connections) < 4 {
		t.Errorf("%d at a time, over %d connections", most, len(connections))
	}
	for name, n := range asked {
		if n != 1 {
			t.Errorf("%s was asked for %d times", name, n)
		}
	}
}

// What nobody has asked for ends with the run.
func TestPrefetchEnds(t *testing.T) {
	asked := make(chan struct{}, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer s.Close()
	c := newClient(t, t.TempDir())
	stop := c.Prefetch(ctx, []fetch.Wish{{Request: fetch.Request{URL: s.URL + "/file"}}})
	<-asked
	stop()
}

// A checksum file is read first where a digest comes from there.
func TestPrefetchByChecksums(t *testing.T) {
	s := newSite(t, false, map[string][]byte{"a": content, "b": flipped(content)})
	s.files["SUMS"] = []byte(digest(content) + "  a\n" + digest(flipped(content)) + "  b\n")
	c := s.client(t, t.TempDir())
	sums := &fetch.Checksums{URL: s.URL + "/SUMS", Algorithm: "sha256"}
	var wishes []fetch.Wish
	for _, name := range []string{"a", "b"} {
		wishes = append(wishes, fetch.Wish{Request: fetch.Request{URL: s.URL + "/" + name}, Checksums: sums})
	}
	stop := c.Prefetch(ctx, wishes)
	defer stop()
	for _, w := range wishes {
		r := w.Request
		listed, err := c.Listed(ctx, *sums, r.URL)
		if err == nil {
			err = r.Narrow(listed)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Fetch(ctx, r); err != nil {
			t.Error(err)
		}
	}
	asked := strings.Fields(s.asked())
	if len(asked) != 3 || asked[0] != "SUMS" {
		t.Errorf("asked for %s", asked)
	}
}

// Offline the store is all there is.
func TestOffline(t *testing.T) {
	one := newSigner(t, nil)
	s := newSite(t, false, map[string][]byte{"file": content, "file.sig": one.detached(content), "other": content})
	s.files["SUMS"] = []byte(digest(content) + "  file\n")
	dir := t.TempDir()
	signed := fetch.Request{URL: s.URL + "/file", Signature: s.URL + "/file.sig", Trust: &fetch.Trust{Keys: []string{one.armored}}}
	try := func(offline bool) (fetch.Fetched, error) {
		c := s.client(t, dir)
		defer c.Store.Close()
		c.Offline = offline
		if _, err := c.Listed(ctx, fetch.Checksums{URL: s.URL + "/SUMS", Algorithm: "sha256"}, s.URL+"/file"); err != nil {
			return fetch.Fetched{}, err
		}
		return c.Fetch(ctx, signed)
	}
	if _, err := try(true); !errors.Is(err, fetch.ErrOffline) || !strings.Contains(err.Error(), s.URL+"/SUMS") {
		t.Errorf("before anything is known: %v", err)
	}
	if _, err := try(false); err != nil {
		t.Fatal(err)
	}
	s.asked()
	f, err := try(true)
	if err != nil || f.SignedBy != one.name {
		t.Errorf("%+v, %v", f, err)
	}
	c := s.client(t, dir)
	c.Offline = true
	if _, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/other"}); !errors.Is(err, fetch.ErrOffline) {
		t.Errorf("what is not known: %v", err)
	}
	if got := s.asked(); got != "" {
		t.Errorf("asked for %s", got)
	}
}

// Trouble is said with the URL and its cause.
func TestTrouble(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	mux.HandleFunc("/cut", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:100])
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	for name, want := range map[string]string{
		"loop": "the server answers with no file: it redirects more than 10 times",
		"cut":  "the connection broke: unexpected EOF",
	} {
		c := newClient(t, t.TempDir())
		_, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/" + name})
		if err == nil || err.Error() != "cannot download "+s.URL+"/"+name+": "+want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A download is as large as its limit at most, whatever the server says of it.
func TestMaxSize(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil { // without end
			if _, err := w.Write(content); err != nil {
				return
			}
		}
	}))
	defer s.Close()
	c := newClient(t, t.TempDir())
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err := c.Fetch(ctx, fetch.Request{URL: s.URL + "/file", MaxSize: int64(len(content))})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("it is larger than %d bytes", len(content))) {
		t.Error(err)
	}
	if names, _ := os.ReadDir(c.Store.Partial()); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}
