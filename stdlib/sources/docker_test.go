package sources_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"imagebuilder/builtins/build"
	"imagebuilder/runtime"
)

func fromDocker(url, arch string) string {
	return fmt.Sprintf("load(\"@stdlib//sources/docker.star\", \"docker\")\n"+
		"def made():\n    return docker(image(\"x\", \"1\", architecture = %q), %q)\n", arch, url)
}

// registryServer runs the registry of the Debian package docker-registry, and returns its address.
func registryServer(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("needs docker-registry")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	addr := l.Addr().String()
	must(l.Close())
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	must(os.WriteFile(config, fmt.Appendf(nil, "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", dir, addr), 0o644))
	var out bytes.Buffer
	cmd := exec.Command(program, "serve", config)
	cmd.Stdout, cmd.Stderr = &out, &out
	must(cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for end := time.Now().Add(time.Minute); ; {
		resp, err := http.Get("http://" + addr + "/v2/")
		if err == nil {
			resp.Body.Close()
			return addr
		}
		if time.Now().After(end) {
			t.Fatalf("the registry does not answer: %v\n%s", err, out.String())
		}
	}
}

// A gate stands before a registry, and knows which blobs are asked for.
type gate struct {
	addr string

	mu    sync.Mutex
	blobs []string // of each request for one: the digest, and which bytes
	cut   string   // the digest of one of which the next answer is cut off
}

func newGate(t *testing.T, registry string) *gate {
	t.Helper()
	g := new(gate)
	through := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: registry})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if r.Method == http.MethodGet && path.Base(path.Dir(r.URL.Path)) == "blobs" {
			g.blobs = append(g.blobs, strings.TrimSpace(path.Base(r.URL.Path)+" "+r.Header.Get("Range")))
			if path.Base(r.URL.Path) == g.cut {
				g.cut = ""
				w = &cutting{w}
			}
		}
		through.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	g.addr = strings.TrimPrefix(s.URL, "http://")
	return g
}

// cutting ends an answer after a few bytes.
type cutting struct{ http.ResponseWriter }

const cutAfter = 100

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) > cutAfter {
		c.ResponseWriter.Write(p[:cutAfter])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

// asked returns the requests since it was called last.
func (g *gate) asked() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer func() { g.blobs = nil }()
	return g.blobs
}

// A member of a layer: with content a file, ending in a slash a directory, or a link.
type member struct {
	name, content, link string
	mode                int64
	uid                 int
}

func layerOf(t *testing.T, members ...member) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: max(m.mode, 0o644), Size: int64(len(m.content)), Uid: m.uid, Typeflag: tar.TypeReg}
		switch {
		case m.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, m.link
		case strings.HasSuffix(m.name, "/"):
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		must(w.WriteHeader(h))
		_, err := w.Write([]byte(m.content))
		must(err)
	}
	must(w.Close())
	return layerOfTar(b.Bytes())
}

func layerOfTar(data []byte) v1.Layer {
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil })
	must(err)
	return l
}

// imageOfLayers returns an image for an architecture.
func imageOfLayers(arch string, layers ...v1.Layer) v1.Image {
	image, err := mutate.AppendLayers(empty.Image, layers...)
	must(err)
	config, err := image.ConfigFile()
	must(err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	image, err = mutate.ConfigFile(image, config)
	must(err)
	return image
}

// containerImage is one for an architecture, of two layers of which the upper removes from the lower.
func containerImage(t *testing.T, arch string) v1.Image {
	t.Helper()
	return imageOfLayers(arch,
		layerOf(t,
			member{name: "etc/"}, member{name: "etc/a", content: "a"}, member{name: "etc/d/"}, member{name: "etc/d/x", content: "x"},
			member{name: "usr/lib/"}, member{name: "lib", link: "usr/lib"}, member{name: "usr/lib/k", content: "k"},
			member{name: "usr/bin/su", content: "su", mode: 0o4755}, member{name: "home/u", content: "u", uid: 1000}),
		layerOf(t,
			member{name: "etc/d/z", content: "z"}, member{name: "etc/d/.wh..wh..opq"}, member{name: "etc/.wh.a"},
			member{name: "lib/"}, member{name: "lib/m", content: arch}))
}

func imageIndex(t *testing.T) v1.ImageIndex {
	t.Helper()
	index := v1.ImageIndex(empty.Index)
	for _, arch := range []string{"amd64", "arm64"} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: containerImage(t, arch), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return index
}

func checkImage(t *testing.T, b built, arch string) {
	t.Helper()
	if got := read(t, b.dir, "usr/lib/m"); got != arch {
		t.Errorf("usr/lib/m is %q, want %q", got, arch)
	}
	if names, err := filepath.Glob(b.dir + "/etc/*"); err != nil || len(names) != 1 {
		t.Errorf("in etc: %v, %v", names, err)
	}
	if names, err := filepath.Glob(b.dir + "/etc/d/*"); err != nil || len(names) != 1 || filepath.Base(names[0]) != "z" {
		t.Errorf("in etc/d: %v, %v", names, err)
	}
	st, err := os.Stat(b.dir + "/usr/bin/su")
	if err != nil || st.Mode() != 0o755|os.ModeSetuid {
		t.Errorf("usr/bin/su: %v, %v", st, err)
	}
	if link, err := os.Readlink(b.dir + "/lib"); link != "usr/lib" {
		t.Errorf("lib: %q, %v", link, err)
	}
}

// An image is taken from a real registry, for the platform that is asked for; an unchanged one
// is not taken again, and a tag that means another image is.
func TestDocker(t *testing.T) {
	g := newGate(t, registryServer(t))
	ref, err := name.ParseReference(g.addr + "/demo/base:1.0")
	must(err)
	index := imageIndex(t)
	must(remote.WriteIndex(ref, index))
	store := t.TempDir()
	for _, test := range []struct {
		arch, platform string
		blobs          int // that are asked for: both have the lower layer
	}{{"x86_64", "amd64", 3}, {"aarch64", "arm64", 2}} {
		b, err := runIn(t, store, fromDocker(ref.Name(), test.arch))
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, b, test.platform)
		if asked := g.asked(); len(asked) != test.blobs {
			t.Errorf("asked for %q, want %d of the configuration and two layers", asked, test.blobs)
		}
		if b, err = runIn(t, store, fromDocker(ref.Name(), test.arch)); err != nil || len(g.asked()) != 1 || !strings.Contains(b.log, "cached=true") {
			t.Errorf("%v: something was done again:\n%s", err, b.log)
		}
	}
	_, err = run(t, fromDocker(ref.Name(), "riscv64"))
	wantError(t, err, "there is no image for linux/riscv64; there are: linux/amd64, linux/arm64")
	_, err = run(t, fromDocker(g.addr+"/demo/none:1.0", "x86_64"))
	wantError(t, err, "cannot find the image "+g.addr+"/demo/none:1.0: ")

	digest, err := index.Digest()
	must(err)
	if b, err := runIn(t, store, fromDocker(ref.Context().Digest(digest.String()).Name(), "x86_64")); err != nil || strings.Contains(b.log, "known by no digest") {
		t.Errorf("%v\n%s", err, b.log)
	}
	must(remote.Write(ref, containerImage(t, "riscv64")))
	b, err := runIn(t, store, fromDocker(ref.Name(), "riscv64"))
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, b, "riscv64")
}

// The layers of an image are downloads like any other: what is cut off is taken up, without the
// network there is what the cache has, and a directory of downloads has them as well.
func TestDockerDownloads(t *testing.T) {
	g := newGate(t, registryServer(t))
	ref, err := name.ParseReference(g.addr + "/demo/base:1.0")
	must(err)
	image := imageOfLayers("amd64",
		layerOf(t, member{name: "etc/a", content: rand.Text() + rand.Text() + rand.Text() + rand.Text()}),
		layerOf(t, member{name: "etc/b", content: "b"}))
	must(remote.Write(ref, image))
	layers, err := image.Layers()
	must(err)
	lower, err := layers[0].Digest()
	must(err)
	recipe := fromDocker(ref.Name(), "x86_64")
	here, elsewhere := runtime.BuildOptions{Cache: t.TempDir()}, runtime.BuildOptions{Cache: t.TempDir()}

	here.Offline = true
	_, err = runWith(t, here, recipe)
	wantError(t, err, "cannot find the image "+ref.Name()+": it is not in the cache, and nothing is downloaded with --offline")
	here.Offline = false
	g.cut = lower.String()
	if b, err := runWith(t, here, recipe); err != nil || read(t, b.dir, "etc/b") != "b" {
		t.Fatal(err)
	}
	if asked := g.asked(); len(asked) != 4 || !slices.Contains(asked, fmt.Sprintf("%s bytes=%d-", lower, cutAfter)) {
		t.Errorf("asked for %q, not for a configuration, two layers and the rest of one", asked)
	}
	here.Offline = true
	if b, err := runWith(t, here, recipe); err != nil || read(t, b.dir, "etc/b") != "b" || len(g.asked()) != 0 {
		t.Errorf("without the network: %v", err)
	}

	elsewhere.Sources = &build.Sources{Dir: t.TempDir(), Keep: true}
	for _, want := range []int{3, 1} {
		if _, err := runWith(t, elsewhere, recipe); err != nil {
			t.Fatal(err)
		}
		if asked := g.asked(); len(asked) != want {
			t.Errorf("asked for %q with a directory of downloads, want %d", asked, want)
		}
		elsewhere.Cache = t.TempDir()
	}
	if _, err := os.Stat(filepath.Join(elsewhere.Sources.Dir, lower.String())); err != nil {
		t.Error(err)
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// The directory of a layout serves as a registry does, and so does its archive. A blob that is
// not what it should be is refused.
func TestDockerLayout(t *testing.T) {
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	must(err)
	must(path.AppendIndex(imageIndex(t)))
	b, err := run(t, fromDocker("oci:"+dir, "x86_64"))
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, b, "amd64")

	layers, err := containerImage(t, "amd64").Layers()
	must(err)
	blob, err := layers[0].Digest()
	must(err)
	file := filepath.Join(dir, "blobs/sha256", blob.Hex)
	data, err := os.ReadFile(file)
	must(err)
	data[len(data)/2] ^= 1
	must(os.WriteFile(file, data, 0o644))
	_, err = run(t, fromDocker("oci:"+dir, "x86_64"))
	wantError(t, err, "want "+blob.Hex)
}

// So does what docker save writes, of which the layers may be compressed and the whole as well.
func TestDockerSaved(t *testing.T) {
	images := make(map[name.Tag]v1.Image)
	for tag, arch := range map[string]string{"one:1": "amd64", "two:1": "arm64"} {
		ref, err := name.NewTag(tag)
		must(err)
		images[ref] = containerImage(t, arch)
	}
	file := filepath.Join(t.TempDir(), "saved.tar.gz")
	f, err := os.Create(file)
	must(err)
	w := gzip.NewWriter(f)
	must(tarball.MultiWrite(images, w))
	must(w.Close())
	must(f.Close())
	recipe := func(arch, tag string) string {
		return strings.Replace(fromDocker("", arch), `""`, fmt.Sprintf("local(%q), name = %q", file, tag), 1)
	}
	for _, test := range []struct{ arch, tag, platform string }{{"x86_64", "", "amd64"}, {"aarch64", "", "arm64"}, {"aarch64", "two:1", "arm64"}} {
		b, err := run(t, recipe(test.arch, test.tag))
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, b, test.platform)
	}
	_, err = run(t, recipe("x86_64", "two:1"))
	wantError(t, err, "there is no image for two:1; there are: one:1, linux/arm64")
}

func TestDockerRefuses(t *testing.T) {
	_, err := run(t, fromDocker("", "x86_64"))
	wantError(t, err, "docker-http: the reference of the image is missing, which in a definition is source.url")
	_, err = run(t, fromDocker("not a reference", "x86_64"))
	wantError(t, err, `not the reference of an image: "not a reference"`)
}
