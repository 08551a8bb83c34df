package build

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
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
				if b.Log = log; b.Fetch == nil {
					b.Fetch = &fetch.Client{Store: store, Log: log, Wait: time.Millisecond, StaleOK: true}
				}
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

// Machines whose clocks differ have the same keys but for the day: around midnight sharing is lost,
// nothing else. An epoch is no clock.
func TestDays(t *testing.T) {
	const now = "2026-03-01T12:00:00Z"
	tests := []struct {
		summary, clock string
		fresh          Freshness
		same           bool
	}{
		{"an hour apart", "2026-03-01T13:00:00Z", Freshness{Daily: true}, true},
		{"in another zone, on the same day", "2026-03-02T01:00:00+14:00", Freshness{Daily: true}, true},
		{"on the next day", "2026-03-02T00:00:01Z", Freshness{Daily: true}, false},
		{"years ahead", "2031-03-01T12:00:00Z", Freshness{Daily: true}, false},
		{"years ahead, where no day counts", "2031-03-01T12:00:00Z", Freshness{}, true},
	}
	inputs := func(clock string, f Freshness) []layer.Input {
		at, err := time.Parse(time.RFC3339, clock)
		if err != nil {
			t.Fatal(err)
		}
		b := &Builder{Clock: func() time.Time { return at }, Epoch: "86400", Now: time.Unix(86400, 0)}
		list, err := b.stamps(context.Background(), f)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	for _, test := range tests {
		if a, b := inputs(now, test.fresh), inputs(test.clock, test.fresh); slices.Equal(a, b) != test.same {
			t.Errorf("%s: %v and %v", test.summary, a, b)
		}
	}
}

// A run begins with the downloads that its plan knows, and if the last one began so too, with
// what that has asked for later.
func TestExpected(t *testing.T) {
	store, err := layer.Open(t.TempDir(), layer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	h := store.History("recipe")
	for _, url := range []string{"http://one/stable", "http://two/updates", "file:///mirror/index"} {
		h.Explain("", layer.Origin{Name: "run", Inputs: []layer.Input{{Name: "script", Value: "x"}, {Name: url, Value: "y"}}})
	}
	if err := h.Save(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		summary string
		plan    []string
		want    string
	}{
		{"the same release", []string{"http://one/stable"}, "http://one/stable http://two/updates"},
		{"with a download besides", []string{"http://one/stable", "http://three/x.iso"}, "http://one/stable http://three/x.iso http://two/updates"},
		{"another release", []string{"http://one/testing"}, "http://one/testing"},
		{"nothing that the plan knows", nil, ""},
	}
	for _, test := range tests {
		b := &Builder{History: store.History("recipe")}
		var got []string
		for _, w := range b.Expected(Freshness{URLs: test.plan}.wishes()) {
			got = append(got, w.URL)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: got %v, want %s", test.summary, got, test.want)
		}
	}
	if got := new(Builder).Expected(nil); got != nil {
		t.Errorf("without a history: %v", got)
	}
}
