package lxd_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"imagebuilder/builtins/lxd"
)

// fakeDaemon answers like LXD as far as the client asks, and remembers what it was told.
type fakeDaemon struct {
	mu      sync.Mutex
	images  map[string]bool
	aliases map[string]string
	log     []string
	fail    string // why an operation fails
}

func (d *fakeDaemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	answer := func(metadata any) {
		json.NewEncoder(w).Encode(map[string]any{"type": "sync", "metadata": metadata})
	}
	notFound := func() {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"type": "error", "error": "Not Found", "error_code": 404}`)
	}
	switch path := r.URL.Path; {
	case path == "/1.0":
		answer(nil)
	case r.Method == http.MethodPost && path == "/1.0/images":
		d.log = append(d.log, "upload "+describe(r))
		answer(map[string]string{"id": "op1"})
	case strings.HasSuffix(path, "/op1/wait"):
		if d.fail != "" {
			answer(map[string]any{"status_code": 400, "err": d.fail})
			return
		}
		answer(map[string]any{"status_code": 200})
	case r.Method == http.MethodPost && path == "/1.0/images/aliases":
		body, _ := io.ReadAll(r.Body)
		d.log = append(d.log, "alias "+string(body))
		answer(nil)
	case strings.HasPrefix(path, "/1.0/images/aliases/"):
		if target, ok := d.aliases[filepath.Base(path)]; ok {
			answer(map[string]string{"target": target})
			return
		}
		notFound()
	case strings.HasPrefix(path, "/1.0/images/") && d.images[filepath.Base(path)]:
		answer(nil)
	default:
		notFound()
	}
}

func describe(r *http.Request) string {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		body, _ := io.ReadAll(r.Body)
		return string(body)
	}
	form, err := r.MultipartReader()
	if err != nil {
		return err.Error()
	}
	text := ""
	for {
		part, err := form.NextPart()
		if err != nil {
			return text
		}
		body, _ := io.ReadAll(part)
		text += fmt.Sprintf("%s:%s=%s ", part.FormName(), part.FileName(), body)
	}
}

func TestImport(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"lxd.tar.xz": "meta", "rootfs.squashfs": "root", "disk.qcow2": "disk", "u.tar.xz": "whole"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	split := lxd.Upload{Fingerprint: "f1", Files: []string{file("lxd.tar.xz"), file("rootfs.squashfs")}}
	tests := []struct {
		summary string
		daemon  fakeDaemon
		image   lxd.Upload
		alias   string
		log     string
		err     string
	}{{
		summary: "two files",
		image:   split,
		log:     "upload metadata:lxd.tar.xz=meta rootfs:rootfs.squashfs=root ",
	}, {
		summary: "a virtual machine",
		image:   lxd.Upload{Fingerprint: "f1", Files: []string{file("lxd.tar.xz"), file("disk.qcow2")}},
		log:     "upload metadata:lxd.tar.xz=meta rootfs.img:disk.qcow2=disk ",
	}, {
		summary: "one file",
		image:   lxd.Upload{Fingerprint: "f1", Files: []string{file("u.tar.xz")}},
		log:     "upload whole",
	}, {
		summary: "an alias",
		image:   split,
		alias:   "a1",
		log:     "upload metadata:lxd.tar.xz=meta rootfs:rootfs.squashfs=root \nalias {\"description\":\"text\",\"name\":\"a1\",\"target\":\"f1\"}",
	}, {
		summary: "an image that is there is not sent again",
		daemon:  fakeDaemon{images: map[string]bool{"f1": true}, aliases: map[string]string{"a1": "f1"}},
		image:   split,
		alias:   "a1",
	}, {
		summary: "the alias of another image",
		daemon:  fakeDaemon{aliases: map[string]string{"a1": "f0"}},
		image:   split,
		alias:   "a1",
		log:     "upload metadata:lxd.tar.xz=meta rootfs:rootfs.squashfs=root ",
		err:     "cannot give the image the alias a1: it is that of the image f0; delete it with 'lxc image alias delete a1'",
	}, {
		summary: "an image that LXD does not like",
		daemon:  fakeDaemon{fail: "Image has bad metadata"},
		image:   split,
		log:     "upload metadata:lxd.tar.xz=meta rootfs:rootfs.squashfs=root ",
		err:     "cannot import the image into LXD: Image has bad metadata",
	}}
	for i := range tests {
		test := &tests[i]
		t.Run(test.summary, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			listener, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: &test.daemon}
			go server.Serve(listener)
			defer server.Close()
			daemon, err := lxd.Connect(t.Context(), func(name string) string {
				return map[string]string{"LXD_SOCKET": socket}[name]
			})
			if err != nil {
				t.Fatal(err)
			}
			err = daemon.Import(context.Background(), test.image, test.alias, "text")
			if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
				t.Errorf("got %v, want %s", err, test.err)
			}
			if got := strings.Join(test.daemon.log, "\n"); got != test.log {
				t.Errorf("the daemon was told:\n%s\nwant:\n%s", got, test.log)
			}
		})
	}
}

func TestConnectWithoutDaemon(t *testing.T) {
	_, err := lxd.Connect(t.Context(), func(string) string { return "/nowhere" })
	if err == nil || !strings.HasPrefix(err.Error(), "cannot reach LXD: ") || !strings.HasSuffix(err.Error(), "dial unix /nowhere: connect: no such file or directory") {
		t.Errorf("got %v", err)
	}
}
