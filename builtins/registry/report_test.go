package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/static"
)

// reported gives what became of a run with two files.
func reported(t *testing.T, url string) Report {
	t.Helper()
	dir := t.TempDir()
	r := Report{Recipe: "a.star", Options: []string{"release=1"}, Result: json.RawMessage(`{"status":"ok"}`)}
	for name, text := range map[string]string{"image": "image", "sub/empty": ""} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := FileOf(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		r.Files = append(r.Files, f)
	}
	m := newMachine(t, url, ownKey, "")
	m.share.Begins(context.Background(), Report{Recipe: r.Recipe, Options: r.Options, Result: json.RawMessage(`{"status":"running"}`)})
	m.share.Ends(context.Background(), r, dir)
	if m.log.Len() > 0 {
		t.Errorf("said:\n%s", &m.log)
	}
	return r
}

// takes takes the report of the run, and its files.
func takes(t *testing.T, url, trusted string) (*Report, error) {
	t.Helper()
	return taking(newMachine(t, url, "", trusted))
}

func taking(m *machine) (*Report, error) {
	r, err := m.share.Report(context.Background(), "a.star", []string{"release=1"})
	if err != nil || r == nil {
		return r, err
	}
	for _, f := range r.Files {
		if err := m.share.TakeFile(context.Background(), f, &bytes.Buffer{}); err != nil {
			return r, err
		}
	}
	return r, nil
}

func TestReport(t *testing.T) {
	url := serve(t, nil)
	if r, err := takes(t, url, ownKey); r != nil || err != nil {
		t.Errorf("before there is one: %+v, %v", r, err)
	}
	want := reported(t, url)
	if r, err := takes(t, url, ownKey); err != nil || string(r.Result) != string(want.Result) || len(r.Files) != 2 {
		t.Errorf("got %+v, %v, want %+v", r, err, want)
	}
	if _, err := takes(t, url, otherKey); err == nil || !strings.Contains(err.Error(), "another key has signed it") {
		t.Errorf("of a key that is not listed: %v", err)
	}
	if r, err := newMachine(t, url, "", ownKey).share.Report(context.Background(), "a.star", []string{"release=2"}); r != nil || err != nil {
		t.Errorf("of other options: %+v, %v", r, err)
	}
}

// A registry that does not say what it has is no registry that has nothing, and no cell is at fault.
func TestReportSilent(t *testing.T) {
	for how, fail := range map[string]func(http.ResponseWriter, *http.Request){
		"says 500":           func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"lets nobody in":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		"has enough of us":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"knows no such word": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) },
		"hangs up":           func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"is silent":          func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		for after := int64(0); after < 100; after++ {
			var failing, failed atomic.Bool
			var asked atomic.Int64
			url := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) bool {
				if !failing.Load() || asked.Add(1) <= after {
					return false
				}
				failed.Store(true)
				fail(w, r)
				return true
			})
			reported(t, url)
			failing.Store(true)
			m := newMachine(t, url, "", ownKey)
			if how == "is silent" {
				if err := m.share.keep(hurry); err != nil {
					t.Fatal(err)
				}
			}
			_, err := taking(m)
			if !failed.Load() {
				if err != nil && how != "is silent" { // a busy machine may be, too
					t.Errorf("the registry answers %d requests: %v", after, err)
				}
				break
			}
			var silent *SilentError
			if !errors.As(err, &silent) {
				t.Errorf("the registry %s after %d requests: %v", how, after, err)
			}
		}
	}
}

// What a registry says that is not what was given is not taken.
func TestReportHostile(t *testing.T) {
	sum := strings.Repeat("0", 64)
	signed := func(text string) func(*Share) []byte {
		return func(s *Share) []byte {
			envelope, err := s.Signer.Sign(context.Background(), reportType, []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			return envelope
		}
	}
	plain := func(text string) func(*Share) []byte { return func(*Share) []byte { return []byte(text) } }
	file := func(name string) func(*Share) []byte {
		return signed(`{"recipe":"a.star","options":["release=1"],"files":[{"name":` + name + `,"sha256":"` + sum + `"}]}`)
	}
	tests := []struct {
		summary string
		text    func(*Share) []byte
		want    string
	}{
		{"nobody has signed it", plain(`{"payloadType":"` + reportType + `","payload":"e30="}`), "nobody has signed it"},
		{"it is no envelope", plain("text"), "it is no signed envelope"},
		{"a layer is signed", func(s *Share) []byte {
			envelope, err := s.Signer.Sign(context.Background(), descriptionType, []byte("{}"))
			if err != nil {
				t.Fatal(err)
			}
			return envelope
		}, "it is no signed envelope of this kind"},
		{"it is of another run", signed(`{"recipe":"a.star","options":["release=2"]}`), "is about something else"},
		{"it is no JSON", signed("text"), "cannot read"},
		{"a file elsewhere", file(`"../x"`), "no name of a file"},
		{"a file of the machine", file(`"/etc/passwd"`), "no name of a file"},
		{"a directory", file(`"."`), "no name of a file"},
		{"a file by a detour", file(`"a/../b"`), "no name of a file"},
		{"no name", file(`""`), "no name of a file"},
		{"no digest", signed(`{"files":[{"name":"a","sha256":"../../x"}]}`), "is no SHA-256"},
		{"a size that is none", signed(`{"files":[{"name":"a","sha256":"` + sum + `","size":-1}]}`), "has the size -1"},
		{"a file that is not there", file(`"a"`), "has it no more"},
	}
	for _, test := range tests {
		url := serve(t, nil)
		giver := newMachine(t, url, ownKey, "")
		image, err := newImage(envelopeType, test.text(giver.share), static.NewLayer([]byte("{}"), emptyType))
		if err == nil {
			err = giver.share.pusher.Push(context.Background(), giver.share.repo.Tag(reportTag("a.star", []string{"release=1"})), image)
		}
		if err != nil {
			t.Fatal(err)
		}
		var silent *SilentError
		if _, err := takes(t, url, ownKey); err == nil || !strings.Contains(err.Error(), test.want) || errors.As(err, &silent) {
			t.Errorf("%s: %v, want %q", test.summary, err, test.want)
		}
	}
	for how, change := range map[string]func([]byte) []byte{
		"has a bit other": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"has more":        func(b []byte) []byte { return append(b, "more"...) },
		"is another":      func([]byte) []byte { return []byte(`{"schemaVersion":2}`) },
	} {
		for _, kind := range []string{"blobs", "manifests"} {
			url := damages(t, kind, change)
			reported(t, url.URL)
			url.damaging.Store(true)
			harmless := kind == "manifests" && how == "has more" // whoever reads JSON stops at its end
			if r, err := takes(t, url.URL, ownKey); err == nil && !harmless {
				t.Errorf("what of %s the registry sends %s: %+v", kind, how, r)
			}
		}
	}
}

// What is given although the registry takes nothing is said, and said not to be there.
func TestReportNotGiven(t *testing.T) {
	url := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return false
		}
		w.WriteHeader(http.StatusInsufficientStorage)
		return true
	})
	m := newMachine(t, url, ownKey, "")
	m.share.Begins(context.Background(), Report{Recipe: "a.star"})
	m.share.Ends(context.Background(), Report{Recipe: "a.star"}, t.TempDir())
	for _, want := range []string{"the shared store takes nothing", "what became of the run is not in the shared store"} {
		if strings.Count(m.log.String(), want) != 1 {
			t.Errorf("it does not say %q once:\n%s", want, &m.log)
		}
	}
}

// A registry that could not be used when a run began may be there when it ends.
func TestReportBack(t *testing.T) {
	var dead atomic.Bool
	url := serve(t, func(_ int64, w http.ResponseWriter, r *http.Request) bool {
		if dead.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return dead.Load()
	})
	for _, back := range []bool{false, true} {
		m := newMachine(t, url, ownKey, ownKey)
		r := Report{Recipe: "a.star", Options: []string{"release=1"}}
		m.share.giveUp(errSilent, asking, giving)
		m.log.Reset()
		dead.Store(!back)
		m.share.Ends(context.Background(), r, t.TempDir())
		if strings.Contains(m.log.String(), "not in the shared store") == back {
			t.Errorf("back %v: said:\n%s", back, &m.log)
		}
		dead.Store(false)
		if got, err := takes(t, url, ownKey); err != nil || (got != nil) != back {
			t.Errorf("back %v: %+v, %v", back, got, err)
		}
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte(`{"recipe":"a.star","options":["release=1"],"result":{"status":"ok"},"files":[{"name":"sub/image","size":5,"sha256":"` + strings.Repeat("a", 64) + `"}]}`))
	f.Add([]byte(`{"files":[{"name":"../x"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseReport(text)
		if err != nil {
			return
		}
		dir := t.TempDir()
		for _, file := range r.Files {
			if at := filepath.Join(dir, file.Name); !strings.HasPrefix(at, dir+"/") || len(file.SHA256) != 64 || file.Size < 0 {
				t.Errorf("took %+v", file)
			}
		}
	})
}
