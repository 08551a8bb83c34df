package sources_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// Files that only a listing tells of come side by side: this server answers none before it was asked for two.
func TestDownloadAhead(t *testing.T) {
	both := make(chan struct{})
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 2 {
			close(both)
		}
		select {
		case <-both:
		case <-time.After(20 * time.Second):
			t.Errorf("%s was asked for alone", r.URL)
		}
		w.Write([]byte(r.URL.Path))
	}))
	defer server.Close()
	_, err := run(t, fmt.Sprintf(`def made():
    check = trust(%q, signed = False)
    urls = [join_url(%q, name) for name in ["a", "b"]]
    download_ahead(urls, trust = check)
    root = rootfs(image("any"))
    for url in urls:
        root.copy(download(url, trust = check), "/etc/")
    return root
`, server.URL, server.URL))
	if err != nil || asked.Load() != 2 {
		t.Errorf("%d requests: %v", asked.Load(), err)
	}
}
