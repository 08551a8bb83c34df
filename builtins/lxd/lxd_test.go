package lxd_test

import (
	"cmp"
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
		server  lxd.Server // "": LXD
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
		summary: "the alias of another image of Incus",
		server:  lxd.Incus,
		daemon:  fakeDaemon{images: map[string]bool{"f1": true}, aliases: map[string]string{"a1": "f0"}},
		image:   split,
		alias:   "a1",
		err:     "cannot give the image the alias a1: it is that of the image f0; delete it with 'incus image alias delete a1'",
	}, {
		summary: "an image that Incus does not like",
		server:  lxd.Incus,
		daemon:  fakeDaemon{fail: "Image has bad metadata"},
		image:   lxd.Upload{Fingerprint: "f1", Files: []string{file("u.tar.xz")}},
		log:     "upload whole",
		err:     "cannot import the image into Incus: Image has bad metadata",
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
			daemon := connect(t, cmp.Or(test.server, lxd.LXD), &test.daemon)
			err := daemon.Import(context.Background(), test.image, test.alias, "text")
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
	tests := []struct {
		server      lxd.Server
		environment map[string]string
		err, socket string
	}{
		{lxd.LXD, map[string]string{"LXD_SOCKET": "/nowhere", "LXD_DIR": "/other"}, "cannot reach LXD: ", "/nowhere"},
		{lxd.LXD, map[string]string{"LXD_DIR": "/nowhere", "INCUS_SOCKET": "/other"}, "cannot reach LXD: ", "/nowhere/unix.socket"},
		{lxd.Incus, map[string]string{"INCUS_SOCKET": "/nowhere", "LXD_SOCKET": "/other"}, "cannot reach Incus: ", "/nowhere"},
		{lxd.Incus, map[string]string{"INCUS_DIR": "/nowhere", "LXD_DIR": "/other"}, "cannot reach Incus: ", "/nowhere/unix.socket"},
	}
	for _, test := range tests {
		_, err := lxd.Connect(t.Context(), test.server, func(name string) string { return test.environment[name] })
		want := "dial unix " + test.socket + ": connect: no such file or directory"
		if err == nil || !strings.HasPrefix(err.Error(), test.err) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s, %v: got %v, want %s…%s", test.server, test.environment, err, test.err, want)
		}
	}
}

// connect returns a daemon that answers as a handler does.
func connect(t *testing.T, server lxd.Server, handler http.Handler) *lxd.Daemon {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	fake := &http.Server{Handler: handler}
	go fake.Serve(listener)
	t.Cleanup(func() { fake.Close() })
	daemon, err := lxd.Connect(t.Context(), server, func(name string) string {
		return map[string]string{strings.ToUpper(string(server)) + "_SOCKET": socket}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	return daemon
}
