package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"imagebuilder/builtins/dirfd"
)

// rootOf is a root file system of some files.
func rootOf(t testing.TB, files map[string]string) *dirfd.Dir {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := dirfd.Open(dir, dirfd.InRoot)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

const plist = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple Computer//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>_XBPS_ALTERNATIVES_</key><dict><key>vi</key><array><string>vim</string></array></dict>
<key>xbps</key><dict><key>architecture</key><string>x86_64</string><key>installed_size</key><integer>7</integer>
<key>pkgver</key><string>xbps-0.59_1</string><key>run_depends</key><array><string>glibc&gt;=2</string></array>
<key>license</key><string>BSD-2-Clause</string></dict>
</dict></plist>`

func TestRead(t *testing.T) {
	tests := []struct {
		files map[string]string
		want  []Package
	}{
		{map[string]string{"var/lib/dpkg/status": "Package: b\nStatus: install ok installed\nSource: src (1.0)\nArchitecture: amd64\n" +
			"Installed-Size: 2\nVersion: 2:1\nHomepage: https://b.example/\nDescription: short\n long: text\n\n" +
			"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"},
			[]Package{{Manager: "dpkg", Name: "b", Version: "2:1", Arch: "amd64", Size: 2048, Source: "src", Homepage: "https://b.example/", Summary: "short"}}},
		{map[string]string{"var/lib/dpkg/status.d/b": "Package: b\nVersion: 1\n", "var/lib/dpkg/status.d/b.md5sums": "Package: c\n"},
			[]Package{{Manager: "dpkg", Name: "b", Version: "1"}}},
		{map[string]string{"usr/lib/opkg/status": "Package: b\nVersion: 1\nStatus: install user installed\nInstalled-Size: 12\n"},
			[]Package{{Manager: "opkg", Name: "b", Version: "1", Size: 12}}},
		{map[string]string{"lib/apk/db/installed": "C:Q1\nP:musl\nV:1.2-r0\nA:x86_64\nI:3\nL:MIT\no:musl\n\nP:musl-utils\nV:1.2-r0\no:musl\n"},
			[]Package{{Manager: "apk", Name: "musl", Version: "1.2-r0", Arch: "x86_64", Size: 3, License: "MIT"}, {Manager: "apk", Name: "musl-utils", Version: "1.2-r0", Source: "musl"}}},
		{map[string]string{"var/lib/pacman/local/a-1/desc": "%NAME%\na\n\n%VERSION%\n1:1-1\n\n%LICENSE%\nMIT\nBSD\n\n%SIZE%\n9\n"},
			[]Package{{Manager: "pacman", Name: "a", Version: "1:1-1", License: "MIT AND BSD", Size: 9}}},
		{map[string]string{"var/db/xbps/pkgdb-0.38.plist": plist},
			[]Package{{Manager: "xbps", Name: "xbps", Version: "0.59_1", Arch: "x86_64", Size: 7, License: "BSD-2-Clause"}}},
		{map[string]string{"var/db/pkg/sys-libs/glibc-2.40-r5/PF": "glibc-2.40-r5\n", "var/db/pkg/sys-libs/glibc-2.40-r5/SIZE": "10\n"},
			[]Package{{Manager: "portage", Name: "sys-libs/glibc", Version: "2.40-r5", Size: 10}}},
	}
	for _, test := range tests {
		got, err := Read(rootOf(t, test.files))
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%v:\ngot  %+v (%v)\nwant %+v", test.files, got, err, test.want)
		}
	}
}

func TestReadDamaged(t *testing.T) {
	for name, text := range map[string]string{
		"var/lib/rpm/rpmdb.sqlite":      "SQLite format 3\x00" + strings.Repeat("\xff", 4096),
		"var/lib/rpm/Packages":          "anything",
		"var/db/xbps/pkgdb-0.38.plist":  "<plist><dict>",
		"var/lib/pacman/local/a-1/desc": "%VERSION%\n1\n",
		"var/db/pkg/sys-libs/glibc/PF":  "glibc",
	} {
		if found, err := Read(rootOf(t, map[string]string{name: text})); err == nil {
			t.Errorf("%s: %q is believed: %v", name, text, found)
		}
	}
}

// The database of rpm is read as rpm reads it.
func TestReadRPM(t *testing.T) {
	for _, program := range []string{"rpm", "rpmbuild"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s", program)
		}
	}
	dir := t.TempDir()
	script := `set -e; cd "$0"; mkdir -p root build
for n in $(seq 40); do printf 'Name: p%d\nVersion: 1.%d\nRelease: 2\nEpoch: 3\nSummary: %s\nLicense: MIT\nBuildArch: noarch\n%%description\n%5000s\n%%files\n' $n $n text x >build/$n.spec; done
rpmbuild -bb --quiet --define "_topdir $0/build" build/*.spec
rpm --root "$0/root" --dbpath /var/lib/rpm --initdb
rpm --root "$0/root" --dbpath /var/lib/rpm --nodeps --noscripts -i build/RPMS/noarch/*.rpm
rpm --root "$0/root" --dbpath /var/lib/rpm -qa --queryformat '%{NAME} %{EPOCH}:%{VERSION}-%{RELEASE} %{ARCH} %{LICENSE} %{SIZE}\n' | sort >want`
	if out, err := exec.Command("sh", "-c", script, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	root, err := dirfd.Open(dir+"/root", dirfd.InRoot)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	found, err := Read(root)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, p := range found {
		lines = append(lines, strings.Join([]string{p.Name, p.Version, p.Arch, p.License, "0\n"}, " "))
	}
	want, err := os.ReadFile(dir + "/want")
	if got := strings.Join(lines, ""); err != nil || got != string(want) {
		t.Errorf("got %s\nwant %s (%v)", got, want, err)
	}
}

func FuzzText(f *testing.F) {
	f.Add("Package: b\nStatus: install ok installed\n\n")
	f.Add("P:a\nV:1\n")
	f.Add("%NAME%\na\n")
	f.Add(plist)
	f.Fuzz(func(t *testing.T, text string) {
		for _, db := range databases {
			if db.parse == nil {
				continue
			}
			found, _ := db.parse("", text)
			for _, p := range found {
				if p.Name == "" && db.manager != "xbps" || p.Size < 0 {
					t.Errorf("%s: %+v", db.manager, p)
				}
			}
		}
		if at := versionOfEbuild(text); at >= 0 && text[at] != '-' {
			t.Errorf("the version of %q begins at %d", text, at)
		}
	})
}

func FuzzRPM(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x03\xe8\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x01a\x00"))
	f.Fuzz(func(t *testing.T, header []byte) {
		if p, err := parseRPM(header); err == nil && (p.Name == "" || p.Size < 0) {
			t.Errorf("%+v", p)
		}
	})
}

func FuzzSQLite(f *testing.F) {
	f.Add([]byte("SQLite format 3\x00\x02\x00" + strings.Repeat("\x00", 494)))
	f.Fuzz(func(t *testing.T, data []byte) {
		db, err := openSQLite(strings.NewReader(string(data)), int64(len(data)))
		if err == nil {
			db.blobs("Packages", func([]byte) error { return nil })
		}
	})
}
