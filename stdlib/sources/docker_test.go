package sources_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
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
	addr := registryServer(t)
	ref, err := name.ParseReference(addr + "/demo/base:1.0")
	must(err)
	index := imageIndex(t)
	must(remote.WriteIndex(ref, index))
	store := t.TempDir()
	for arch, platform := range map[string]string{"x86_64": "amd64", "aarch64": "arm64"} {
		b, err := runIn(t, store, fromDocker(ref.Name(), arch))
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, b, platform)
		if b, err = runIn(t, store, fromDocker(ref.Name(), arch)); err != nil || strings.Contains(b.log, "step=layer") || !strings.Contains(b.log, "cached=true") {
			t.Errorf("%v: something was done again:\n%s", err, b.log)
		}
	}
	_, err = run(t, fromDocker(ref.Name(), "riscv64"))
	wantError(t, err, "there is no image for linux/riscv64; there are: linux/amd64, linux/arm64")
	_, err = run(t, fromDocker(addr+"/demo/none:1.0", "x86_64"))
	wantError(t, err, "cannot find the image "+addr+"/demo/none:1.0: ")

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

func TestDockerRefuses(t *testing.T) {
	_, err := run(t, fromDocker("", "x86_64"))
	wantError(t, err, "docker-http: the reference of the image is missing, which in a definition is source.url")
	_, err = run(t, fromDocker("not a reference", "x86_64"))
	wantError(t, err, `not the reference of an image: "not a reference"`)
}
