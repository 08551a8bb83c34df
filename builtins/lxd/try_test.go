package lxd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/lxd"
)

// tryDaemon answers like LXD to a trial: the container is what it says when it is asked, one
// answer after the other, the last for ever.
type tryDaemon struct {
	has     bool     // the image
	refuse  string   // why it makes no container
	stuck   string   // why it removes none
	answers []string // "": no program runs; "stopped": it has gone
	asked   chan struct{}
	during  string // the request during which cancel is called
	cancel  func()

	mu   sync.Mutex
	log  []string
	here bool // the container
}

func (d *tryDaemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	path, _ := strings.CutPrefix(r.URL.Path, "/1.0")
	path = strings.Replace(path, fmt.Sprintf("imagebuilder-boot-%d", os.Getpid()), "C", 1)
	fail := func(code int, text string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"type": "error", "error": %q, "error_code": %d}`, text, code)
	}
	answer := func(metadata any) { json.NewEncoder(w).Encode(map[string]any{"metadata": metadata}) }
	if r.Method != http.MethodGet && !strings.HasSuffix(path, "/exec") {
		d.log = append(d.log, r.Method+" "+path)
	}
	if d.during == r.Method+" "+path {
		d.during = ""
		d.cancel()
		select {
		case <-r.Context().Done():
			d.log = append(d.log, "nobody hears what it makes")
		case <-time.After(100 * time.Millisecond):
		}
	}
	switch {
	case path == "" || strings.HasSuffix(path, "/op/wait"):
		answer(map[string]any{"status_code": 200, "metadata": map[string]any{"output": map[string]string{"1": "/1.0/out"}}})
	case path == "/images/f1" && r.Method == http.MethodGet && !d.has:
		fail(http.StatusNotFound, "Image not found")
	case path == "/instances" && d.refuse != "":
		fail(http.StatusBadRequest, d.refuse)
	case path == "/instances/C" && r.Method == http.MethodDelete && d.stuck != "":
		fail(http.StatusInternalServerError, d.stuck)
	case strings.HasPrefix(path, "/instances/C") && !d.here:
		fail(http.StatusNotFound, "Instance not found")
	case path == "/instances/C/console":
		fmt.Fprint(w, "hello\r\n")
	case path == "/out":
		if d.asked != nil {
			close(d.asked)
			d.asked = nil
		}
		fmt.Fprintln(w, d.answers[0])
		if len(d.answers) > 1 {
			d.answers = d.answers[1:]
			d.here = d.answers[0] != "stopped"
		}
	default:
		switch {
		case path == "/instances":
			d.here = true
		case path == "/instances/C/state" && strings.Contains(string(body), `"stop"`):
			d.here = false
		}
		answer(map[string]string{"id": "op", "status": "Running"})
	}
}

func (d *tryDaemon) try(t *testing.T, ctx context.Context, timeout time.Duration) (lxd.Trial, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "u.tar.xz")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return connect(t, lxd.LXD, d).Try(ctx, lxd.Upload{Fingerprint: "f1", Files: []string{file}}, timeout)
}

func TestTry(t *testing.T) {
	const (
		imported = "POST /images, "
		started  = "POST /instances, PUT /instances/C/state, "
		removed  = "PUT /instances/C/state, DELETE /instances/C"
		image    = ", DELETE /images/f1"
	)
	tests := []struct {
		summary string
		daemon  tryDaemon
		timeout time.Duration
		log     string
		failed  string
		err     string
	}{
		{"systemd", tryDaemon{answers: []string{"", "starting", "running"}}, 0, imported + started + removed + image, "", ""},
		{"another init", tryDaemon{answers: []string{"there"}}, 0, imported + started + removed + image, "", ""},
		{"failed units", tryDaemon{answers: []string{"degraded", "a.service\nb.mount"}}, 0, imported + started + removed + image, "a.service b.mount", ""},
		{"an image that is there", tryDaemon{has: true, answers: []string{"running"}}, 0, started + removed, "", ""},
		{"an init that ends", tryDaemon{answers: []string{"there", "stopped"}}, 0, imported + started + removed + image, "", "it has stopped"},
		{"emergency mode", tryDaemon{answers: []string{"maintenance"}}, 0, imported + started + removed + image, "", "it has ended in emergency mode"},
		{"too late", tryDaemon{answers: []string{"starting"}}, time.Second, imported + started + removed + image, "", "it was not up within 1s"},
		{"no container", tryDaemon{refuse: "no root device"}, 0, imported + "POST /instances" + image, "", "cannot make a container of the image: no root device"},
		{"no end", tryDaemon{stuck: "it is busy", answers: []string{"running"}}, 0, imported + started + removed + image, "",
			fmt.Sprintf("cannot remove instances/imagebuilder-boot-%d from LXD: it is busy", os.Getpid())},
	}
	for i := range tests {
		test := &tests[i]
		t.Run(test.summary, func(t *testing.T) {
			trial, err := test.daemon.try(t, t.Context(), test.timeout)
			if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
				t.Errorf("got %v, want %s", err, test.err)
			}
			var exit *host.ExitError
			if errors.As(err, &exit) && exit.Output != "hello" && exit.Output != "" {
				t.Errorf("the console: %q", exit.Output)
			}
			if test.timeout > 0 && (exit == nil || exit.Output != "hello") {
				t.Errorf("the error has no console: %+v", exit)
			}
			if got := strings.Join(trial.Failed, " "); got != test.failed {
				t.Errorf("failed units: %s", got)
			}
			if got := strings.Join(test.daemon.log, ", "); got != test.log {
				t.Errorf("the daemon was told:\n%s\nwant:\n%s", got, test.log)
			}
		})
	}
}

// All is removed by one who has been told to stop: what the daemon was asked for is done, and
// known, before it is removed.
func TestTryIsCancelled(t *testing.T) {
	const (
		imported = "POST /images"
		made     = imported + ", POST /instances"
		started  = made + ", PUT /instances/C/state"
		removed  = ", PUT /instances/C/state, DELETE /instances/C"
		image    = ", DELETE /images/f1"
	)
	tests := []struct{ during, log string }{
		{"POST /images", imported + image},
		{"POST /instances", made + removed + image},
		{"PUT /instances/C/state", started + removed + image},
		{"", started + removed + image}, // while it boots
	}
	for _, test := range tests {
		t.Run(test.during, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cause := errors.New("enough")
			stop := func() { cancel(cause) }
			daemon := tryDaemon{answers: []string{"starting"}, during: test.during, cancel: stop}
			if test.during == "" {
				asked := make(chan struct{})
				daemon.asked = asked
				go func() {
					<-asked
					stop()
				}()
			}
			if _, err := daemon.try(t, ctx, time.Hour); !errors.Is(err, cause) {
				t.Errorf("got %v", err)
			}
			if got := strings.Join(daemon.log, ", "); got != test.log {
				t.Errorf("the daemon was told:\n%s\nwant:\n%s", got, test.log)
			}
		})
	}
}

// An upload does not go on for one who has been told to stop.
func TestUploadIsCancelled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "u.tar.xz")
	const size = 8 << 30 // more than can be on its way
	if err := errors.Join(os.WriteFile(file, nil, 0o644), os.Truncate(file, size)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	sent := make(chan error, 1)
	daemon := connect(t, lxd.LXD, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			io.ReadFull(r.Body, make([]byte, 1))
			cancel(cause)
			_, err := io.Copy(io.Discard, r.Body)
			sent <- err
		case r.URL.Path != "/1.0":
			fmt.Fprintf(w, `{"error": "not found", "error_code": %d}`, http.StatusNotFound)
		default:
			fmt.Fprint(w, "{}")
		}
	}))
	if err := daemon.Import(ctx, lxd.Upload{Fingerprint: "f1", Files: []string{file}}, "", ""); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if err := <-sent; err == nil {
		t.Error("all of the image was sent")
	}
}
