package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imagebuilder/builtins/lock"
)

// Debian from its lock on another machine that has no network.
func TestRealLock(t *testing.T) {
	needAll(t)
	archive, security := mirrors(t)
	for program, pkg := range map[string]string{"mmdebstrap": "mmdebstrap", "zstd": "zstd", "unshare": "util-linux"} {
		need(t, program, pkg)
	}
	other := newOtherMachine(t)
	work := t.TempDir()
	in := func(name string) string { return filepath.Join(work, name) }
	options := func(lockFile, cache, archive, security string) []string {
		return []string{"--lock-file", in(lockFile), "--cache", in(cache), "-o", "release=bookworm", "-o", "compression=zstd-1",
			"-o", "mirror=" + archive, "-o", "security_mirror=" + security}
	}
	here := options("debian.lock", "here", archive, security)
	output(t, nil, "imagebuilder", append([]string{"lock", "debian"}, here...)...)
	output(t, nil, "imagebuilder", append([]string{"run", "--locked", "debian", in("first")}, here...)...)
	output(t, nil, "imagebuilder", append([]string{"lock", "--check", "debian"}, here...)...)
	text, err := os.ReadFile(in("debian.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 50000 {
		t.Errorf("the lock has %d bytes", len(text))
	}
	was := described(t, in("first"))
	if len(was) == 0 {
		t.Fatal("there are no results")
	}

	// The bytes alone go elsewhere.
	if err := os.CopyFS(in("there/bodies"), os.DirFS(in("here/bodies"))); err != nil {
		t.Fatal(err)
	}
	there := append([]string{"-c", `umask 077; exec unshare --net imagebuilder run --locked debian "$@"`, "sh", in("second")},
		options("debian.lock", "there", archive, security)...)
	output(t, other.env, "sh", there...)
	is := described(t, in("second"))
	for name, text := range was {
		if is[name] != text {
			t.Errorf("%s differs:\n%s\n%s", name, text, is[name])
		}
	}
}

// The archive is gone, and a snapshot service has its files at other places.
func TestRealLockMirror(t *testing.T) {
	needAll(t)
	archive, _ := mirrors(t)
	need(t, "mmdebstrap", "mmdebstrap")
	work := t.TempDir()
	in := func(name string) string { return filepath.Join(work, name) }
	const recipe = `
load("@stdlib//sources/debian.star", "debootstrap")

mirror = option("mirror", "")

def main():
    export(debootstrap(image("debian", "bookworm"), mirror, variant = "minbase"), "tree")
`
	if err := os.WriteFile(in("debian.star"), []byte(recipe), 0o644); err != nil {
		t.Fatal(err)
	}
	output(t, nil, "imagebuilder", "lock", in("debian.star"), "--cache", in("here"), "-o", "mirror="+archive)
	text, err := os.ReadFile(in("debian.lock"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := lock.Parse("debian.lock", text)
	if err != nil {
		t.Fatal(err)
	}
	const gone, snapshots = "http://archive.invalid/debian", "/archive/20261129T000000Z"
	files := make(map[string]lock.Content)
	for _, get := range f.Gets() {
		files[snapshots+strings.TrimPrefix(get.URL, archive)] = get.Content
	}
	bodies, asked := lock.Bodies{Dir: in("here/bodies")}, make(chan string, 10000)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.EscapedPath()
		if c, ok := files[r.URL.EscapedPath()]; ok {
			http.ServeFile(w, r, bodies.Path(c))
			return
		}
		http.NotFound(w, r)
	}))
	defer service.Close()
	moved := strings.ReplaceAll(string(text), archive, gone) + "mirror " + gone + " " + service.URL + snapshots + "\n"
	if err := os.WriteFile(in("debian.lock"), []byte(moved), 0o644); err != nil {
		t.Fatal(err)
	}
	output(t, nil, "imagebuilder", "run", "--locked", in("debian.star"), in("out"), "--cache", in("there"), "-o", "mirror="+gone)
	close(asked)
	times := make(map[string]int)
	for name := range asked {
		times[name]++
	}
	for name := range files {
		if times[name] != 1 {
			t.Errorf("%s was asked for %d times", name, times[name])
		}
		delete(times, name)
	}
	for name := range times {
		t.Errorf("%s was asked for, and is not in the lock", name)
	}
}
