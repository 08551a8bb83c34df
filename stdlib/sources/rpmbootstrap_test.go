package sources_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rpmbootstrap with the dnf of this machine, real packages and real signatures.

const aRepository = "[base]\nname=b\nbaseurl=%s/repo/$releasever\nenabled=1\ngpgcheck=0\n"

func fromPackages(repository, args string) string {
	return fmt.Sprintf("load(\"@stdlib//sources/rpmbootstrap.star\", \"rpmbootstrap\")\n"+
		"def made():\n    return rpmbootstrap(image(\"any\", release = \"9\"), %q, components = [\"extra\"], exclude = [\"unwanted\"]%s)\n", repository, args)
}

func TestRPMBootstrap(t *testing.T) {
	needTools(t, "dnf", "dnf")
	m, store := newMirror(t), t.TempDir()
	m.rpms(t, "repo/9", nil, rpmSystem("1")...)
	recipe := fromPackages(fmt.Sprintf(aRepository, m.http), "")
	b, err := runIn(t, store, recipe)
	if err != nil {
		t.Fatal(err)
	}
	checkRPMSystem(t, b.dir, "1")
	if !strings.Contains(read(t, b.dir, "etc/extra.post"), "urandom") {
		t.Error("the scripts of the packages have no /dev")
	}

	b, err = runIn(t, store, recipe)
	if strings.Count(b.log, "cached=false") != 1 { // the export
		t.Errorf("%v\n%s", err, b.log)
	}

	m.rpms(t, "repo/9", nil, rpmSystem("2")...)
	if b, err = runIn(t, store, recipe); err != nil {
		t.Fatal(err)
	}
	checkRPMSystem(t, b.dir, "2")
}

func checkRPMSystem(t *testing.T, dir, version string) {
	t.Helper()
	for _, name := range []string{"dnf", "yum", "extra"} {
		if got := read(t, dir, "usr/share/"+name); got != version+"\n" {
			t.Errorf("%s is of version %q, want %s", name, got, version)
		}
	}
	for _, name := range []string{"dev/*", "proc/*", "var/cache/*", "var/log/*", "usr/share/unwanted", "etc/yum.repos.d", "root/.rpmdb", "tmp/*"} {
		if found, _ := filepath.Glob(filepath.Join(dir, name)); found != nil {
			t.Errorf("%s is in the image", found)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "var/lib/rpm")); err != nil {
		t.Error(err)
	}
}

func TestRPMBootstrapVerifies(t *testing.T) {
	needTools(t, "dnf", "dnf")
	m := newMirror(t)
	key := newGnupg(t)
	m.rpms(t, "repo/9", key, rpmSystem("1")...)
	repository := fmt.Sprintf(aRepository, m.http)
	b, err := run(t, fromPackages(repository, fmt.Sprintf(", keys = [%q]", key.key)))
	if err != nil {
		t.Fatal(err)
	}
	checkRPMSystem(t, b.dir, "1")
	for summary, test := range map[string]struct{ repository, args, err string }{
		"another key":              {repository, fmt.Sprintf(", keys = [%q]", trusted().key()), "GPG"},
		"no key":                   {strings.Replace(repository, "gpgcheck=0", "gpgcheck=1", 1), "", "GPG"},
		"the release is not there": {strings.Replace(repository, "$releasever", "none", 1), "", "404"},
		"no such package":          {repository, ", include = [\"nothing\"]", "No match for argument: nothing"},
		"a URL":                    {m.http + "/repo/9", "", "rpmbootstrap: the url must be the text of a .repo file"},
	} {
		if _, err := run(t, fromPackages(test.repository, test.args)); err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v", summary, err)
		}
	}
	b, err = run(t, fromPackages(repository, ", skip_verification = True"))
	if err != nil || !strings.Contains(b.log, "the packages are not verified: skip_verification is set") {
		t.Errorf("%v\n%s", err, b.log)
	}
}

// Where this machine has no dnf, that of another rootfs installs the packages, in another
// directory of it.
func TestRPMBootstrapElsewhere(t *testing.T) {
	m := newMirror(t)
	work := archive{id: "work", shell: true, files: map[string]string{"usr/bin/dnf": dnfStub}}
	m.put("work.tar.gz", work.packed(t, "gz"))
	b, err := run(t, fmt.Sprintf(`load("@stdlib//sources/rpmbootstrap.star", "rpmbootstrap")
load("@stdlib//sources/rootfs_http.star", "rootfs_http")
def made():
    img = image("any", release = "9", architecture = "i686")
    work = rootfs_http(img, %q)
    return rpmbootstrap(img, %q, components = ["extra"], keys = [%q], bootstrap = work)
`, m.http+"/work.tar.gz", fmt.Sprintf(aRepository, m.http), trusted().key()))
	if err != nil {
		t.Fatal(err)
	}
	want := "-y --noplugins --installroot=/rootfs --setopt=reposdir=/tmp/repositories --releasever=9 --forcearch=i686 " +
		"--setopt=*.gpgcheck=1 --setopt=*.gpgkey=file:///keys.asc install yum dnf extra\n"
	if got := read(t, b.dir, "calls"); got != want {
		t.Errorf("dnf was called with\n%s, want\n%s", got, want)
	}
	if got, want := read(t, b.dir, "seen"), fmt.Sprintf(aRepository, m.http)+trusted().key(); strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("dnf has seen\n%s", got)
	}
}

// dnfStub makes a root file system of its own, with what it was called with and has seen.
const dnfStub = `#!/bin/sh
set -e
for word in "$@"; do
    case $word in
    --installroot=*) root=${word#*=} ;;
    --setopt=reposdir=*) dir=${word#--setopt=reposdir=} ;;
    esac
done
mkdir -p "$root/bin" "$root/etc"
cp /bin/sh "$root/bin/sh"
echo "ID=test" >"$root/etc/os-release"
echo "$@" >>"$root/calls"
cat "$dir"/*.repo /keys.asc >"$root/seen"
`
