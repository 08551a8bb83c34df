package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// dockerRegistry starts the registry of the package docker-registry with a directory, and returns
// what kills it.
func dockerRegistry(t *testing.T, addr, dir string) (kill func()) {
	t.Helper()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: %s}\n  delete: {enabled: true}\nhttp: {addr: %q, secret: of the test}\n", dir, addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var killed atomic.Bool
	kill = func() {
		if !killed.Swap(true) {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(kill)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get("http://" + addr + "/v2/"); err == nil {
			resp.Body.Close()
			return kill
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// A real registry, which is killed in the middle of an upload and comes back, and has what is old
// removed at last.
func TestDockerRegistry(t *testing.T) {
	needsRoot(t)
	if _, err := exec.LookPath("docker-registry"); err != nil {
		t.Skip("needs docker-registry")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, dir := listener.Addr().String(), t.TempDir()
	listener.Close()
	kill := dockerRegistry(t, addr, dir)

	// It is killed where it does nothing else: what it is writing then is a file cut short, and
	// where that is a tag's, it has the registry say 500 of that tag from then on.
	var uploads, killAt atomic.Int64
	var others sync.RWMutex
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch && uploads.Add(1) == killAt.Load() {
			others.Lock()
			kill()
			others.Unlock()
		}
		others.RLock()
		defer others.RUnlock()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)

	killAt.Store(5) // each entry has two uploads, and two are given at a time
	first := newMachine(t, server.URL, ownKey, ownKey)
	if done, content := first.build(t); done != 3 || content != builtContent || strings.Count(first.log.String(), "level=WARN") != 1 {
		t.Errorf("the first: %d steps were done; made %q; said:\n%s", done, content, &first.log)
	}
	dockerRegistry(t, addr, dir)
	second := newMachine(t, server.URL, ownKey, ownKey)
	given := first.share.given
	done, content := second.build(t)
	if given > 2 || done < 3-given || content != builtContent || second.log.Len() > 0 {
		t.Errorf("the second: %d steps were done where %d were given; made %q; said:\n%s", done, given, content, &second.log)
	}
	useless := given - (3 - done) // what the first gave that lies on one it could not give
	third := newMachine(t, server.URL, ownKey, ownKey)
	if done, content := third.build(t); done != 0 || content != builtContent || third.log.Len() > 0 {
		t.Errorf("the third: %d steps were done, want none; made %q; said:\n%s", done, content, &third.log)
	}
	ctx := context.Background()
	third.share.Leave(ctx, "a.star", nil)
	for _, test := range []struct {
		keep int
		want Pruned
	}{{1, Pruned{Entries: useless, KeptRecords: 1, KeptEntries: 3}}, {0, Pruned{Records: 1, Entries: 3}}, {0, Pruned{}}} {
		if got, err := third.share.Prune(ctx, test.keep, -time.Hour, false); err != nil || got != test.want {
			t.Errorf("with %d runs kept: %+v, %v, want %+v", test.keep, got, err, test.want)
		}
	}
	if done, _ := newMachine(t, server.URL, "", ownKey).build(t); done != 3 {
		t.Errorf("after all was removed %d steps were done, want 3", done)
	}
}
