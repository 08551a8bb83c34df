package build

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/layer"
)

// An index that this machine cannot read is no reason to fail: the package manager may be
// able to, or not be needed at all.
func TestUnreadableIndexes(t *testing.T) {
	today := time.Now().UTC().Format(time.DateOnly)
	last := digest.Sum([]byte("index")).String()
	tests := []struct {
		summary string
		status  int  // of the answer; 0: there is no server
		before  bool // it could be read once
		want    string
		notice  string
	}{
		{"one that is there", 200, false, last, ""},
		{"none is there", 404, false, today, ""},
		{"none is there any longer", 404, true, today, ""},
		{"a password is wanted", 401, false, today, "taken to change every day"},
		{"it is forbidden", 403, false, today, "taken to change every day"},
		{"it is forbidden now", 403, true, last, "taken to be as it was last seen"},
		{"there is no server", 0, false, today, "taken to change every day"},
		{"the server is down", 0, true, last, "taken to be as it was last seen"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			status := http.StatusOK
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				w.Write([]byte("index"))
			}))
			defer server.Close()
			store, err := layer.Open(t.TempDir(), layer.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			var said bytes.Buffer
			log := slog.New(slog.NewTextHandler(&said, nil))
			fresh := Freshness{URLs: []string{server.URL + "/InRelease"}}
			stamp := func(b *Builder) string {
				b.Log, b.Fetch = log, &fetch.Client{Store: store, Log: log, Wait: time.Millisecond}
				inputs, err := b.stamps(context.Background(), fresh)
				if err != nil {
					t.Fatal(err)
				}
				return inputs[0].Value
			}
			if test.before && stamp(new(Builder)) != last {
				t.Fatal("it could not be read at first")
			}
			status = test.status
			if status == 0 {
				server.Close()
			}
			b := new(Builder)
			for range 2 { // it is said once in a run
				if got := stamp(b); got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
			}
			if got := strings.Count(said.String(), "level=WARN"); test.notice == "" && got > 0 || test.notice != "" && got != 1 ||
				!strings.Contains(said.String(), test.notice) {
				t.Errorf("said %s, want %q once", &said, test.notice)
			}
		})
	}
}

// A mirror may be a directory of this machine.
func TestIndexesHere(t *testing.T) {
	store, err := layer.Open(t.TempDir(), layer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/In Release", []byte("index"), 0o644); err != nil {
		t.Fatal(err)
	}
	fresh := Freshness{URLs: []string{"file://" + dir + "/In%20Release", "file://" + dir + "/none"}}
	log := slog.New(slog.DiscardHandler)
	b := &Builder{Log: log, Fetch: &fetch.Client{Store: store, Log: log}}
	inputs, err := b.stamps(context.Background(), fresh)
	if err != nil || fresh.Check() != nil {
		t.Fatal(err, fresh.Check())
	}
	if want := digest.Sum([]byte("index")).String(); inputs[0].Value != want || inputs[1].Value != time.Now().UTC().Format(time.DateOnly) {
		t.Errorf("got %v", inputs)
	}
}
