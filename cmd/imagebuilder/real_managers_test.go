package main

import (
	"bytes"
	"crypto"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// The package managers that Debian has, each in a root file system of Debian, against
// repositories with a package of our own. The others are in the scenarios managers_*.

// managed is what the recipes of managers have in common.
const managed = `
load("@stdlib//managers/index.star", "MANAGERS")
load("@stdlib//sources/debian.star", "debootstrap")

mirror = option("mirror", "")
url = option("url", "", help = "what the repositories are below")
key = option("key", "", help = "what they are signed with")
manager = option("manager", "")
later = option("later", False, help = "programs think it is 40 days later")

VERSION = "/usr/share/ibtest/version"

# Debian's rpm has no database, and zypper wants one with something in it.
RPM = """#!/bin/sh
set -e
mkdir -p /etc/zypp /etc/rpm
: >/etc/zypp/systemCheck
echo '%_dbpath /var/lib/rpm' >/etc/rpm/macros.test
rpm --initdb
rpm --force-debian -i /other.rpm
"""

PACMAN = "[options]\nArchitecture = auto\nSigLevel = Never\n"

def prepare(root):
    if manager == "pacman":
        root.write("/etc/pacman.conf", PACMAN)
    if manager == "yum":
        root.link("/usr/bin/yum", "dnf-3")
    if manager in ["dnf", "yum", "zypper"]:
        root.copy(local("other.rpm"), "/other.rpm")
        chroot_run(root, RPM, network = False)

def add(root, name):
    at = "%s/%s" % (url, name)
    if manager == "apt":
        name = "sources.list" if name == "own" else name
        content = "deb [signed-by=/etc/apt/keyrings/%s.asc] %s ./" % (name, at)
    elif manager == "pacman":
        root.write("/etc/pacman.conf", PACMAN)
        content = "SigLevel = PackageNever DatabaseRequired\nServer = " + at
    elif manager == "zypper":
        content = at
    else:
        content = "[%s]\nname=%s\nbaseurl=%s\ngpgcheck=0\nrepo_gpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-%s\n" % (name, name, at, name)
    repository(root, name, content, key = key)

def managers():
    root = debootstrap(
        image("debian", "bookworm"),
        mirror,
        variant = "minbase",
        snapshot = True,
        include = ["dnf", "zypper", "pacman-package-manager", "archlinux-keyring", "makepkg", "gnupg", "libfaketime"],
    )
    if later:
        root.env["LD_PRELOAD"] = root.glob("/usr/lib/*/faketime/libfaketime.so.1")[0]
        root.env["FAKETIME"] = "+40d"
        root.env["NO_FAKE_STAT"] = "1"
    prepare(root)
    root.manager = MANAGERS[manager]
    add(root, "own")
    return root
`

// managedRecipe installs the package from the repository "own", brings it up to date from
// the repository "next", removes it, and says what it has found on the way.
const managedRecipe = managed + `
KEPT = {
    "apt": "/var/cache/apt/archives/*.deb",
    "dnf": "/var/cache/dnf/*/packages/*",
    "yum": "/var/cache/dnf/*/packages/*",
    "zypper": "/var/cache/zypp/packages/*/*",
    "pacman": "/var/cache/pacman/pkg/*",
}

def main():
    root = managers()
    install(root, ["ibtest"], clean = True)
    print("installed", root.read(VERSION).strip())
    add(root, "next")
    update(root, clean = True)
    print("updated to", root.read(VERSION).strip(), "kept", root.glob(KEPT[manager]))
    remove(root, ["ibtest"])
    print("there is one", root.exists(VERSION))
`

// twiceRecipe leaves the package in an updated version.
const twiceRecipe = managed + `
def main():
    root = managers()
    install(root, ["ibtest"])
    add(root, "next")
    update(root)
    if manager == "pacman":
        root.remove("/etc/pacman.d/gnupg")  # its master key is made by chance, and of one machine
    export(root, "tree")
`

// A signer signs repositories.
type signer struct {
	entity *openpgp.Entity
	config *packet.Config
}

func newSigner(t *testing.T) signer {
	t.Helper()
	config := &packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048, DefaultHash: crypto.SHA256}
	entity, err := openpgp.NewEntity("test", "", "test@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	return signer{entity, config}
}

// key returns the public key, armored.
func (s signer) key(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err == nil {
		err = s.entity.Serialize(w)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// sign makes a signature of the file beside it: inline, or detached and armored or not.
func (s signer) sign(t *testing.T, file, signed string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	switch filepath.Ext(signed) {
	case ".asc":
		err = openpgp.ArmoredDetachSign(&b, s.entity, bytes.NewReader(data), s.config)
	case ".sig":
		err = openpgp.DetachSign(&b, s.entity, bytes.NewReader(data), s.config)
	default:
		w, encodeErr := clearsign.Encode(&b, s.entity.PrivateKey, s.config)
		if encodeErr != nil {
			t.Fatal(encodeErr)
		}
		if _, err = w.Write(data); err == nil {
			err = w.Close()
		}
	}
	if err == nil {
		err = os.WriteFile(signed, b.Bytes(), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sh runs a script in a directory.
func sh(t *testing.T, dir, script string, args ...string) {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-ec", script, "sh"}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// makeRPM makes ./$1-$2.rpm.
const makeRPM = `
cat >$1.spec <<EOF
Name: $1
Version: $2
Release: 1
Summary: test
License: none
BuildArch: noarch
AutoReqProv: no
%description
test
%install
mkdir -p %{buildroot}/usr/share/$1
echo $2 >%{buildroot}/usr/share/$1/version
%files
/usr/share/$1
EOF
rpmbuild -bb --define "_topdir $PWD/top" $1.spec
mv top/RPMS/noarch/$1-$2-1.noarch.rpm $1-$2.rpm
rm -r top $1.spec
`

// publishPackage makes the directory dir a repository of the package in a version, signed.
func publishPackage(t *testing.T, kind, dir, version string, s signer) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	switch kind {
	case "rpm":
		sh(t, dir, makeRPM+"createrepo_c .", "ibtest", version)
		s.sign(t, at("repodata/repomd.xml"), at("repodata/repomd.xml.asc"))
	case "deb":
		sh(t, dir, `mkdir -p tree/DEBIAN tree/usr/share/ibtest
echo $1 >tree/usr/share/ibtest/version
printf 'Package: ibtest\nVersion: %s\nArchitecture: all\nMaintainer: test\nDescription: test\n' $1 >tree/DEBIAN/control
dpkg-deb -b --root-owner-group tree ibtest_$1_all.deb
rm -rf tree InRelease
dpkg-scanpackages -m . >Packages
apt-ftparchive release . >Release`, version)
		s.sign(t, at("Release"), at("InRelease"))
		if err := os.Remove(at("Release")); err != nil {
			t.Fatal(err)
		}
	case "pacman":
		name := filepath.Base(dir)
		sh(t, dir, `mkdir -p usr/share/ibtest
echo $1 >usr/share/ibtest/version
printf 'pkgname = ibtest\npkgver = %s-1\npkgdesc = test\narch = any\nsize = 1\n' $1 >.PKGINFO
bsdtar --zstd -cf ibtest-$1-1-any.pkg.tar.zst .PKGINFO usr
rm -r usr .PKGINFO
repo-add $2.db.tar.gz ibtest-$1-1-any.pkg.tar.zst`, version, name)
		s.sign(t, at(name+".db"), at(name+".db.sig"))
	}
}

// A logged server serves a directory and remembers what was asked for.
type logged struct {
	*httptest.Server
	mu    sync.Mutex
	paths []string
}

func serveLogged(t *testing.T, dir string) *logged {
	l := new(logged)
	files := http.FileServer(http.Dir(dir))
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.paths = append(l.paths, r.URL.Path)
		l.mu.Unlock()
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(l.Close)
	return l
}

// asked returns the paths asked for since it was called last.
func (l *logged) asked() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.paths = nil }()
	return strings.Join(l.paths, "\n")
}

// publishManaged fills a directory with what a recipe of managers needs, and returns that.
func publishManaged(t *testing.T, dir, kind, text string, s signer) string {
	t.Helper()
	for program, pkg := range map[string]string{
		"rpmbuild": "rpm", "createrepo_c": "createrepo-c", "dpkg-scanpackages": "dpkg-dev", "apt-ftparchive": "apt-utils",
		"bsdtar": "libarchive-tools", "repo-add": "pacman-package-manager", "makepkg": "makepkg",
	} {
		need(t, program, pkg)
	}
	publishPackage(t, kind, filepath.Join(dir, "served/own"), "1.0", s)
	publishPackage(t, kind, filepath.Join(dir, "served/next"), "2.0", s)
	sh(t, dir, makeRPM+"mv other-1.rpm other.rpm", "other", "1")
	recipe := filepath.Join(dir, "recipe.star")
	if err := os.WriteFile(recipe, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return recipe
}

func TestRealManagers(t *testing.T) {
	mirror, _ := mirrors(t)
	need(t, "mmdebstrap", "mmdebstrap")
	for _, test := range []struct{ manager, kind, index, pkg string }{
		{"apt", "deb", "InRelease", ".deb"},
		{"dnf", "rpm", "repodata/repomd.xml", ".rpm"},
		{"yum", "rpm", "repodata/repomd.xml", ".rpm"},
		{"zypper", "rpm", "repodata/repomd.xml", ".rpm"},
		{"pacman", "pacman", "next.db", ".pkg.tar.zst"},
	} {
		t.Run(test.manager, func(t *testing.T) {
			dir, s := t.TempDir(), newSigner(t)
			recipe := publishManaged(t, dir, test.kind, managedRecipe, s)
			server := serveLogged(t, filepath.Join(dir, "served"))
			run := func(key string) (string, error) {
				out, err := exec.Command("imagebuilder", "run", recipe, dir+"/out", "--cache", sharedCache(t), "-o", "mirror="+mirror,
					"-o", "url="+server.URL, "-o", "key="+key, "-o", "manager="+test.manager).CombinedOutput()
				return string(out), err
			}
			check := func(summary string, wants ...string) string {
				t.Helper()
				out, err := run(s.key(t))
				if err != nil {
					t.Fatalf("%s: %v\n%s", summary, err, out)
				}
				for _, want := range wants {
					if !strings.Contains(out, want) {
						t.Errorf("%s: there is no %q in\n%s", summary, want, out)
					}
				}
				return out
			}

			if out, err := run(newSigner(t).key(t)); err == nil || !strings.Contains(strings.ToLower(out), "signature") {
				t.Errorf("signed with another key: %v\n%s", err, out)
			}
			check("first", "installed 1.0", "updated to 2.0 kept []", "there is one False")
			server.asked()

			out := check("unchanged", "installed 1.0", "updated to 2.0 kept []", "there is one False")
			asked := server.asked()
			if strings.Contains(asked, test.pkg) || !strings.Contains(asked, "/next/"+test.index) {
				t.Errorf("unchanged: the repositories were asked for\n%s\n%s", asked, out)
			}

			publishPackage(t, test.kind, filepath.Join(dir, "served/next"), "3.0", s)
			check("changed", "installed 1.0", "updated to 3.0 kept []", "there is one False")
			asked = server.asked()
			if strings.Contains(asked, "1.0") || !strings.Contains(asked, "3.0") {
				t.Errorf("changed: the repositories were asked for\n%s", asked)
			}
		})
	}
}

// With an epoch the databases of managers, too, are the same on two machines.
func TestRealManagersTwice(t *testing.T) {
	needAll(t)
	mirror, _ := mirrors(t)
	need(t, "mmdebstrap", "mmdebstrap")
	for manager, kind := range map[string]string{"dnf": "rpm", "zypper": "rpm", "pacman": "pacman"} {
		t.Run(manager, func(t *testing.T) {
			dir, s := t.TempDir(), newSigner(t)
			recipe := publishManaged(t, dir, kind, twiceRecipe, s)
			server := serveLogged(t, filepath.Join(dir, "served"))
			both := []string{"-o", "mirror=" + mirror, "-o", "url=" + server.URL, "-o", "key=" + s.key(t), "-o", "manager=" + manager}
			builtTwice(t, recipe, both, []string{"-o", "later=true"})
		})
	}
}
