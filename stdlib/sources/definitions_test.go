package sources_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The real definitions, built as a user does from mirrors of this test. Their package managers,
// and other programs that their actions call, are stand-ins in the root file systems that
// write down how they were called.

// A definition is one file, for all releases and variants that it names.
type definition struct {
	file     string // of ../shared/definitions, without extension
	path     string // of the mirror that source.url is; "-": the definition has no keys for it
	fill     func(t *testing.T, m *mirror)
	releases []string
	variants []string
	keys     int // how many keys the definition has

	// set returns what else is set for a release and a variant; nil: nothing.
	set func(release, variant string) []string

	// want is what was called for every image, and by "RELEASE", "VARIANT" or "RELEASE VARIANT"
	// what was for these, too.
	want map[string][]string
}

// record is the file in which stand-ins write down how they were called.
const record = "var/log/standin"

// standIns are programs that do nothing but write down how they were called.
func standIns(names ...string) map[string]string {
	files := map[string]string{record: ""}
	for _, name := range names {
		if !strings.Contains(name, "/") {
			name = "usr/bin/" + name
		}
		files[name] = fmt.Sprintf("#!/bin/sh\necho %s \"$@\" >>/%s\n", name[strings.LastIndex(name, "/")+1:], record)
	}
	return files
}

// with returns files and others.
func with(files map[string]string, others map[string]string) map[string]string {
	files = maps.Clone(files)
	maps.Copy(files, others)
	return files
}

// definitions are in the order of their names.
var definitions = []definition{
	{
		file:     "busybox",
		path:     "downloads",
		releases: []string{"1.36.1"},
		fill: func(t *testing.T, m *mirror) {
			for _, name := range []string{busyboxSource, busyboxSource + ".sha256"} {
				m.put("downloads/"+name, busyboxMirror(t).get(name))
			}
		},
	},
	{
		file:     "slackware",
		path:     "slackware",
		releases: []string{"15.0", "current"},
		fill: func(t *testing.T, m *mirror) {
			shell, err := os.ReadFile("/bin/busybox")
			if err != nil {
				t.Skipf("needs the Debian package busybox-static: %v", err)
			}
			packages := maps.Clone(slackwarePackages)
			packages["a/bash-5.1.016-x86_64-1.txz"] = pkg{
				files:  map[string]string{"bin/ash": string(shell), "bin/bash": "#!/bin/sh\nexec /bin/sh \"$@\"\n"},
				script: "( cd bin ; ln -sf ash sh )\n",
			}
			packages["ap/slackpkg-15.0.10-noarch-1.txz"] = pkg{files: with(standIns("usr/sbin/slackpkg", "usr/sbin/update-ca-certificates"),
				map[string]string{"etc/slackpkg/mirrors": "", "var/lib/slackpkg/.keep": ""})}
			for _, release := range []string{"15.0", "current"} {
				m.putPackages(t, "slackware/slackware64-"+release+"/slackware64", packages)
				m.put("slackware/slackware64-"+release+"/ChangeLog.txt", []byte("today\n"))
			}
		},
		want: map[string][]string{"": {"update-ca-certificates -f", "slackpkg update gpg",
			"slackpkg -batch=on -default_answer=y update", "slackpkg -batch=on -default_answer=y install sudo"}},
	},
}

const definitionsDir = "../../../shared/definitions"

func TestDefinitionsBuild(t *testing.T) {
	if _, err := os.Stat(definitionsDir); err != nil {
		t.Skipf("without the real definitions: %v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts and owners")
	}
	for _, d := range definitions {
		t.Run(d.file, func(t *testing.T) {
			m := newMirror(t)
			d.fill(t, m)
			cache := t.TempDir()
			for _, release := range d.releases {
				for _, variant := range append([]string{"default"}, d.variants...) {
					t.Run(release+" "+variant, func(t *testing.T) { d.build(t, m, cache, release, variant) })
				}
			}
		})
	}
}

// build makes all images of a release and a variant of which there can be any now.
func (d definition) build(t *testing.T, m *mirror, cache, release, variant string) {
	file := filepath.Join(definitionsDir, d.file+".yaml")
	set := []string{"-o", "image.release=" + release, "-o", "image.variant=" + variant, "-o", "image.architecture=x86_64",
		"-o", "source.url=" + m.https + "/" + d.path, "-o", "image.serial=1"}
	for i := range d.keys {
		set = append(set, "-o", fmt.Sprintf("source.keys.%d=%s", i, trusted().key()))
	}
	if d.set != nil {
		set = append(set, d.set(release, variant)...)
	}
	recipe := filepath.Join(t.TempDir(), "recipe.star")
	must(os.WriteFile(recipe, []byte(imagebuilder(t, "convert", append([]string{file}, set...)...)), 0o644))
	for _, target := range []string{"lxd", "lxc", "vm"} {
		args := append([]string{"--json", "-o", "target=" + target}, set...)
		if a, b := planned(t, file, args), planned(t, recipe, args); a != b {
			t.Errorf("for %s the definition plans\n%s, its recipe\n%s", target, a, b)
		}
	}

	out := t.TempDir()
	imagebuilder(t, "build-lxd", append([]string{"--cache", cache, "--compression", "gzip-1", file, out}, set...)...)
	image, err := exec.Command("unsquashfs", "-cat", filepath.Join(out, "rootfs.squashfs"), record).CombinedOutput()
	if err != nil && len(d.want) > 0 {
		t.Fatalf("cannot look into the image: %v\n%s", err, image)
	}
	called := strings.Split(string(image), "\n")
	for _, kind := range []string{"", release, variant, release + " " + variant} {
		for _, want := range d.want[kind] {
			if !slices.Contains(called, want) {
				t.Errorf("%q was not called, but\n%s", want, image)
			}
		}
	}
	imagebuilder(t, "build-lxc", append([]string{"--cache", cache, "--compression", "gzip-1", file, out}, set...)...)
	for _, name := range []string{"lxd.tar.gz", "meta.tar.xz", "rootfs.tar.gz"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
}

// place is where a step of a plan stands in its file.
var place = regexp.MustCompile(`(?m)^\s*"at":.*\n`)

func planned(t *testing.T, file string, args []string) string {
	t.Helper()
	return place.ReplaceAllString(imagebuilder(t, "plan", append([]string{file}, args...)...), "")
}

// program builds the tool once for all tests.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "imagebuilder")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "imagebuilder")
	out, err := exec.Command("go", "build", "-o", name, "imagebuilder/cmd/imagebuilder").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("cannot build the tool: %w\n%s", err, out)
	}
	return name, err
})

// imagebuilder runs the tool and returns what it prints.
func imagebuilder(t *testing.T, verb string, args ...string) string {
	t.Helper()
	name, err := program()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command(name, append([]string{verb}, args...)...)
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", verb, err, &log)
	}
	return string(out)
}
