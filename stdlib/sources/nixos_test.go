package sources_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func fromNixos(url, release, arch string) string {
	return fmt.Sprintf("load(\"@stdlib//sources/nixos.star\", \"nixos\")\n"+
		"def made():\n    return nixos(image(\"nixos\", %q, architecture = %q), %q)\n", release, arch, url)
}

// squashed returns an image of squashfs with the files.
func squashed(t *testing.T, files map[string]string) []byte {
	t.Helper()
	return imageOf(t, files, func(dir, image string) *exec.Cmd {
		return exec.Command("mksquashfs", dir, image, "-noappend", "-quiet", "-all-root", "-no-progress")
	})
}

// imageOf returns the image that a program makes of files.
func imageOf(t *testing.T, files map[string]string, command func(dir, image string) *exec.Cmd) []byte {
	t.Helper()
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
	for name, content := range files {
		must(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	cmd := command(dir, image)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("cannot make an image by %s: %v\n%s", cmd.Path, err, out)
	}
	data, err := os.ReadFile(image)
	must(err)
	return data
}

func TestNixos(t *testing.T) {
	m := newMirror(t)
	const file = "latest/download-by-type/file/"
	for jobs, name := range map[string]string{"release-26.05": "26.05", "trunk-combined": "unstable"} {
		m.put("build/"+name+"/nixos.squashfs", squashed(t, map[string]string{"etc/os-release": "ID=nixos " + name + "\n"}))
		m.redirect("job/nixos/"+jobs+"/nixos.incusContainerImage.x86_64-linux/"+file+"squashfs-image", "build/"+name+"/nixos.squashfs")
	}
	m.put("job/nixos/release-23.05/nixos.lxdContainerImage.aarch64-linux/"+file+"system-tarball", archive{id: "nixos 23.05"}.packed(t, "xz"))
	for _, test := range []struct{ release, arch string }{{"26.05", "x86_64"}, {"unstable", "x86_64"}, {"23.05", "aarch64"}} {
		b, err := run(t, fromNixos(m.http, test.release, test.arch))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := read(t, b.dir, "etc/os-release"), "ID=nixos "+test.release+"\n"; got != want {
			t.Errorf("etc/os-release is %q, want %q", got, want)
		}
		if _, err := os.Stat(b.dir + "/proc"); err != nil {
			t.Error(err)
		}
	}

	for want, recipe := range map[string]string{
		"there is no image of the release 24.05 for x86_64": fromNixos(m.http, "24.05", "x86_64"),
		"known are aarch64, x86_64":                         fromNixos(m.http, "26.05", "s390x"),
		"the image has no release":                          fromNixos(m.http, "", "x86_64"),
	} {
		if _, err := run(t, recipe); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	m.hinder("job/nixos/release-26.05/nixos.incusContainerImage.x86_64-linux/"+file+"squashfs-image", portal)
	if _, err := run(t, fromNixos(m.http, "26.05", "x86_64")); err == nil || !strings.Contains(err.Error(), "squashfs-image") {
		t.Error(err)
	}
}
