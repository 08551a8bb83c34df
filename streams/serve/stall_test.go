package serve_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imagebuilder/streams/serve"
)

// TestStall holds that a client which does not read is dropped, and one that does is not.
func TestStall(t *testing.T) {
	root := site(t)
	const size = 64 << 20 // more than sockets hold
	write(t, filepath.Join(root, version, "disk.qcow2"), strings.Repeat("x", size))
	for name, start := range map[string]func(*httptest.Server){
		"http": (*httptest.Server).Start, "https": (*httptest.Server).StartTLS,
		"http/2": func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() },
	} {
		t.Run(name, func(t *testing.T) {
			get := func(stall time.Duration) (*http.Response, chan struct{}) {
				handler := listen(t, serve.ServerOptions{Root: root, Plain: true, Stall: stall}).Handler()
				done := make(chan struct{})
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(done)
					handler.ServeHTTP(w, r)
				}))
				start(server)
				t.Cleanup(server.Close)
				response, err := server.Client().Get(server.URL + "/" + version + "/disk.qcow2")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { response.Body.Close() })
				return response, done
			}
			stalled, done := get(50 * time.Millisecond)
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatal("it waits for a client that does not read")
			}
			if n, err := io.Copy(io.Discard, stalled.Body); err == nil || n == size {
				t.Errorf("%d bytes came nevertheless", n)
			}
			reading, _ := get(time.Minute)
			if n, err := io.Copy(io.Discard, reading.Body); err != nil || n != size {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
}
