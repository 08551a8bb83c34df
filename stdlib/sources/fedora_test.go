package sources_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

func fromFedora(url, release, arch string) string {
	return fmt.Sprintf("load(\"@stdlib//sources/fedora.star\", \"fedora\")\n"+
		"def made():\n    return fedora(image(\"fedora\", %q, architecture = %q), %q)\n", release, arch, url)
}

// ociArchive returns the archive of a layout with an image.
func ociArchive(t *testing.T, image v1.Image) []byte {
	t.Helper()
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	must(err)
	must(path.AppendImage(image))
	file := dir + ".oci.tar.xz"
	if out, err := exec.Command("tar", "-C", dir, "-cJf", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(file)
	must(err)
	return data
}

// The newest build counts, by its numbers.
func TestFedora(t *testing.T) {
	data := ociArchive(t, containerImage(t, "amd64"))
	m := newMirror(t)
	const product = "Fedora-Container-Base-Generic"
	for _, build := range []string{"20261001.0", "20261020.n.0", "20261020.n.10"} {
		content := []byte("not this one")
		if build == "20261020.n.10" {
			content = data
		}
		m.put("packages/"+product+"/43/"+build+"/images/"+product+"-43-"+build+".x86_64.oci.tar.xz", content)
	}
	b, err := run(t, fromFedora(m.http, "43", "x86_64"))
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, b, "amd64")
	_, err = run(t, fromFedora(m.http, "44", "x86_64"))
	wantError(t, err, "404")
	_, err = run(t, fromFedora(m.http, "43", "riscv64"))
	wantError(t, err, "there is nothing for the architecture")
	m.put("packages/"+product+"/43/20261021.0/images/"+product+"-43-20261021.0.x86_64.oci.tar.xz", []byte(strings.Repeat("no archive ", 100)))
	_, err = run(t, fromFedora(m.http, "43", "x86_64"))
	wantError(t, err, "it is neither an archive nor an image of a file system that is known")
}
