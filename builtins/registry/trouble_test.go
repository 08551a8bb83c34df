package registry

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/static"

	"imagebuilder/builtins/layer"
)

// hurry is a pace at which nobody waits for a test.
var hurry = pace{answer: 100 * time.Millisecond, keep: 200 * time.Millisecond, piece: 1 << 20}

// A registry that does not answer, or not to its end, costs no more than one wait.
func TestShareWaits(t *testing.T) {
	needsRoot(t)
	wait := func(r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }
	troubles := map[string]func(n int64, w http.ResponseWriter, r *http.Request) bool{
		"is silent": func(_ int64, w http.ResponseWriter, r *http.Request) bool { wait(r); return true },
		"is silent after a while": func(n int64, w http.ResponseWriter, r *http.Request) bool {
			if n > 10 {
				wait(r)
			}
			return n > 10
		},
		"keeps no upload": func(_ int64, w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPatch {
				wait(r)
			}
			return r.Method == http.MethodPatch
		},
		"sends a byte now and then": func(_ int64, w http.ResponseWriter, r *http.Request) bool {
			for r.Context().Err() == nil {
				w.Write([]byte(" "))
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
			return true
		},
	}
	for how, trouble := range troubles {
		m := newMachine(t, serve(t, trouble), ownKey, ownKey)
		if err := m.share.keep(hurry); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, content := m.build(t)
		said := strings.Count(m.log.String(), "level=WARN")
		if content != builtContent || said != 1 {
			t.Errorf("the registry %s: made %q in %v, and said:\n%s", how, content, time.Since(start), &m.log)
		}
	}
}

// What takes nothing may still give: a registry that is full, or read-only while it collects.
func TestShareIsFull(t *testing.T) {
	needsRoot(t)
	for name, status := range map[string]int{"full": http.StatusInsufficientStorage, "broken": http.StatusInternalServerError, "read-only": http.StatusMethodNotAllowed} {
		var full atomic.Bool
		url := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) bool {
			if full.Load() && r.Method != http.MethodGet && r.Method != http.MethodHead {
				w.WriteHeader(status)
				return true
			}
			return false
		})
		newMachine(t, url, ownKey, ownKey).build(t)
		full.Store(true)
		giver := newMachine(t, url, ownKey, "") // who takes nothing builds all
		if done, _ := giver.build(t); done != 3 || strings.Count(giver.log.String(), "level=WARN") != 1 || !strings.Contains(giver.log.String(), "the shared store takes nothing") {
			t.Errorf("%s: %d steps were done, and said:\n%s", name, done, &giver.log)
		}
		taker := newMachine(t, url, ownKey, ownKey)
		if done, content := taker.build(t); done != 0 || content != builtContent {
			t.Errorf("%s: %d steps were done; made %q; said:\n%s", name, done, content, &taker.log)
		}
	}
}

// The end of a run waits for what is being given, but not for ever.
func TestShareEnds(t *testing.T) {
	m := newMachine(t, "http://registry.example", ownKey, "")
	m.share.begin(context.Background(), []gift{{name: "a", put: func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }}, {name: "b"}})
	m.share.finish(10 * time.Millisecond)
	if !strings.Contains(m.log.String(), "left=2") || strings.Count(m.log.String(), "level=WARN") != 1 {
		t.Errorf("said:\n%s", &m.log)
	}
}

// Two that build one layer at once leave it whole, whoever is last.
func TestShareTogether(t *testing.T) {
	needsRoot(t)
	url := serve(t, nil)
	var group sync.WaitGroup
	machines := []*machine{newMachine(t, url, ownKey, ""), newMachine(t, url, ownKey, "")}
	for _, m := range machines {
		group.Go(func() {
			if done, _ := m.build(t); done != 3 {
				t.Errorf("%d steps were done, want 3", done)
			}
		})
	}
	group.Wait()
	m := newMachine(t, url, "", ownKey)
	if done, content := m.build(t); done > 2 || content != builtContent {
		t.Errorf("%d steps were done, want fewer; made %q; said:\n%s", done, content, &m.log)
	}
}

func TestGiving(t *testing.T) {
	bottom := layer.Meta{Key: "1", ID: "a", Step: "bottom"}
	install := layer.Meta{Key: "2", ID: "b", Base: "1", BaseID: "a", Step: "install", Network: true}
	small := layer.Meta{Key: "3", ID: "c", Base: "2", BaseID: "b", Step: "small"}
	long := layer.Meta{Key: "4", ID: "d", Base: "3", BaseID: "c", Step: "long", Took: 60}
	tiny := layer.Meta{Key: "5", ID: "e", Base: "4", BaseID: "d", Step: "tiny"}
	image := layer.Meta{Key: "6", Base: "5", BaseID: "e", Step: "image"}
	tests := []struct {
		summary string
		giving  Giving
		pushed  []layer.Meta
		want    string
	}{
		{"nothing", None, []layer.Meta{bottom, install, image}, ""},
		{"all", All, []layer.Meta{bottom, install, small, image}, "bottom install small image"},
		{"what is worth it, with what it lies on", Shared, []layer.Meta{bottom, install, small, long, tiny, image}, "bottom install small long image"},
	}
	for _, test := range tests {
		m := newMachine(t, "http://registry.example", ownKey, "")
		m.share.Giving = test.giving
		var names []string
		for _, meta := range test.pushed {
			for _, g := range m.share.due(gift{name: meta.Step, meta: meta}) {
				names = append(names, g.name)
			}
		}
		if got := strings.Join(names, " "); got != test.want {
			t.Errorf("%s: gave %q, want %q", test.summary, got, test.want)
		}
	}
}

// A body is taken if it is what it is to be, and needs no key.
func TestBody(t *testing.T) {
	var rotten atomic.Bool
	url := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) bool {
		if !rotten.Load() || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		io.WriteString(w, "rotten")
		return true
	})
	const sum = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1" // of "text"
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	giver := newMachine(t, url, ownKey, "")
	giver.share.Keep(ctx, sum, file, true)
	giver.share.Close()
	taker := newMachine(t, url, "", "")
	read := func() (string, error) {
		body, err := taker.share.Body(ctx, sum)
		if err != nil {
			return "", err
		}
		defer body.Close()
		text, err := io.ReadAll(body)
		return string(text), err
	}
	if text, err := read(); text != "text" || err != nil {
		t.Errorf("got %q, %v; said:\n%s%s", text, err, &giver.log, &taker.log)
	}
	rotten.Store(true)
	if text, err := read(); err == nil {
		t.Errorf("got %q, want an error", text)
	}
	rotten.Store(false)
	if _, err := taker.share.Body(ctx, strings.Repeat("0", 64)); !os.IsNotExist(err) {
		t.Errorf("what there is not: %v", err)
	}
}

// What only old runs have used goes.
func TestPrune(t *testing.T) {
	needsRoot(t)
	url := serve(t, nil)
	ctx := context.Background()
	m := newMachine(t, url, ownKey, ownKey)
	m.build(t)
	m.share.Leave(ctx, "old.star", nil)
	body := func(m *machine, text, sum string) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		m.share.Keep(ctx, sum, file, true)
		m.share.Close()
	}
	other := newMachine(t, url, ownKey, ownKey)
	body(other, "text", "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1")
	other.share.Leave(ctx, "other.star", nil)
	nobody := newMachine(t, url, ownKey, ownKey)
	body(nobody, "other", "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa")
	tests := []struct {
		summary string
		keep    int
		grace   time.Duration
		dry     bool
		want    Pruned
	}{
		{"what is new stays", 1, time.Hour, false, Pruned{KeptRecords: 2, KeptEntries: 5}},
		{"it is only counted", 1, -time.Hour, true, Pruned{KeptRecords: 2, KeptEntries: 4, Entries: 1}},
		{"what nobody has used", 1, -time.Hour, false, Pruned{KeptRecords: 2, KeptEntries: 4, Entries: 1}},
		{"once gone it is gone", 1, -time.Hour, false, Pruned{KeptRecords: 2, KeptEntries: 4}},
		{"all", 0, -time.Hour, false, Pruned{Records: 2, Entries: 4}},
		{"nothing is left", 0, -time.Hour, false, Pruned{}},
	}
	for _, test := range tests {
		if got, err := m.share.Prune(ctx, test.keep, test.grace, test.dry); err != nil || got != test.want {
			t.Errorf("%s: %+v, %v, want %+v", test.summary, got, err, test.want)
		}
	}
	// Of the same recipe only the newest count.
	for range 3 {
		again := newMachine(t, url, ownKey, ownKey)
		again.build(t)
		again.share.Leave(ctx, "old.star", nil)
	}
	if got, err := m.share.Prune(ctx, 2, 0, false); err != nil || got.Records != 1 || got.KeptRecords != 2 || got.Entries != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// A machine whose clock is years ahead leaves a record that is no newer than any: it does not push out
// what others have left since. One whose clock is behind loses its own at most.
func TestPruneClocks(t *testing.T) {
	needsRoot(t)
	url := serve(t, nil)
	ctx := context.Background()
	leave := func(at time.Time) string {
		m := newMachine(t, url, ownKey, ownKey)
		text, err := json.Marshal(Record{Recipe: "a.star"})
		if err != nil {
			t.Fatal(err)
		}
		image, err := newImage(recordType, text, static.NewLayer(text, recordType))
		if err != nil {
			t.Fatal(err)
		}
		tag := recordTag(at) + "-test"
		if err := m.share.pusher.Push(ctx, m.share.repo.Tag(tag), image); err != nil {
			t.Fatal(err)
		}
		return tag
	}
	now := time.Now()
	leave(now.Add(5 * 365 * 24 * time.Hour))
	leave(now.Add(-5 * 365 * 24 * time.Hour))
	ahead, right := leave(now.Add(time.Hour)), leave(now)
	m := newMachine(t, url, ownKey, ownKey)
	if got, err := m.share.Prune(ctx, 2, time.Hour, false); err != nil || got.Records != 2 || got.KeptRecords != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	tags, err := m.share.puller.List(ctx, m.share.repo)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{ahead, right} {
		if !slices.Contains(tags, tag) {
			t.Errorf("%s is gone; there are %q", tag, tags)
		}
	}
}
