package packages

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

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
		{map[string]string{"var/lib/dpkg/status": "Package: b\nStatus: install ok installed\nSource: src (1.0)\nMulti-Arch: same\nArchitecture: amd64\n" +
			"Installed-Size: 2\nVersion: 2:1\nHomepage: https://b.example/\nDescription: short\n long: text\n\n" +
			"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"},
			[]Package{{Manager: "dpkg", Name: "b", Version: "2:1", Arch: "amd64", Size: 2048, Source: "src", SourceVersion: "1.0", Several: true, Homepage: "https://b.example/", Summary: "short"}}},
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
		got := Read(rootOf(t, test.files))
		if got.Err() != nil || !reflect.DeepEqual(got.Packages, test.want) {
			t.Errorf("%v:\ngot  %+v (%v)\nwant %+v", test.files, got.Packages, got.Err(), test.want)
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
		found := Read(rootOf(t, map[string]string{name: text, "var/lib/dpkg/status": "Package: b\nVersion: 1\n"}))
		if len(found.Unread) != 1 || !strings.Contains(found.Unread[0], "database is not read: /var") {
			t.Errorf("%s: %q is believed: %v", name, text, found)
		}
		if len(found.Packages) != 1 {
			t.Errorf("%s: what others have in their databases is lost: %v", name, found)
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
	found := Read(root)
	if found.Err() != nil {
		t.Fatal(found.Err())
	}
	var lines []string
	for _, p := range found.Packages {
		lines = append(lines, strings.Join([]string{p.Name, p.Version, p.Arch, p.License, "0\n"}, " "))
	}
	want, err := os.ReadFile(dir + "/want")
	if got := strings.Join(lines, ""); err != nil || got != string(want) {
		t.Errorf("got %s\nwant %s (%v)", got, want, err)
	}
}

// What a database says can stand on a line, and in any document.
func TestReadUnclean(t *testing.T) {
	status := "Package: a\x1b[31m\nVersion: 1\xff\t2\nDescription: " + strings.Repeat("x", 2*maxText) + "\n"
	got := Read(rootOf(t, map[string]string{"var/lib/dpkg/status": status}))
	want := []Package{{Manager: "dpkg", Name: "a [31m", Version: "1\uFFFD 2", Summary: strings.Repeat("x", maxText)}}
	if !reflect.DeepEqual(got.Packages, want) {
		t.Errorf("got %+v", got)
	}
}

func TestSystem(t *testing.T) {
	for text, want := range map[string]System{
		"NAME=Debian\nID=debian\nVERSION_ID=\"12\"\n": {"debian", "12"},
		"ID='arch'":   {"arch", ""},
		"ID=\x00\xff": {"\uFFFD", ""},
		"":            {},
	} {
		if got := parseSystem(text); got != want {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
	got := Read(rootOf(t, map[string]string{"usr/lib/os-release": "ID=alpine\nVERSION_ID=3.20\n"}))
	if got.System != (System{"alpine", "3.20"}) {
		t.Errorf("got %+v", got)
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
		if s := parseSystem(text); strings.ContainsAny(s.ID+s.Version, "\n\x00\t") {
			t.Errorf("%+v", s)
		}
		p := Package{Name: text, Summary: text}
		if p.clean(); len(p.Name) > maxText+2 || strings.ContainsAny(p.Name, "\n\t\x00") || !utf8.ValidString(p.Summary) {
			t.Errorf("%+v", p)
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
	fuzzRPM(f, 0)
}

func FuzzBerkeley(f *testing.F) {
	f.Add(berkeleyOf(512, []byte("header")))
	f.Add(berkeleyOf(512, bytes.Repeat([]byte("header"), 300)))
	fuzzRPM(f, 1)
}

func FuzzNDB(f *testing.F) {
	f.Add(ndbOf([]byte("header")))
	fuzzRPM(f, 2)
}

// fuzzRPM reads a database in one of the ways.
func fuzzRPM(f *testing.F, way int) {
	f.Fuzz(func(t *testing.T, data []byte) {
		read := 0
		rpmFiles[way].blobs(bytes.NewReader(data), int64(len(data)), func(blob []byte) error {
			if read += len(blob); way == 1 && read > 2*len(data) {
				t.Errorf("%d bytes came out of %d", read, len(data))
			}
			return nil
		})
	})
}

// berkeleyOf is a hash of one value on pages of its own.
func berkeleyOf(page int, value []byte) []byte {
	le := binary.LittleEndian
	data := make([]byte, 2*page)
	le.PutUint32(data[12:], berkeleyMagic)
	le.PutUint32(data[20:], uint32(page))
	hash := data[page:]
	hash[25] = berkeleyHash
	le.PutUint16(hash[20:], 2)
	le.PutUint16(hash[berkeleyHeader+2:], uint16(page-12))
	hash[page-12] = berkeleyLarge
	le.PutUint32(hash[page-8:], 2)
	le.PutUint32(hash[page-4:], uint32(len(value)))
	for n := uint32(3); len(value) > 0; n++ {
		part := make([]byte, page)
		used := copy(part[berkeleyHeader:], value)
		part[25] = berkeleyOverflow
		le.PutUint16(part[22:], uint16(used))
		if value = value[used:]; len(value) > 0 {
			le.PutUint32(part[16:], n)
		}
		data = append(data, part...)
	}
	le.PutUint32(data[32:], uint32(len(data)/page-1))
	return data
}

// ndbOf is a database of one value.
func ndbOf(value []byte) []byte {
	le := binary.LittleEndian
	data := make([]byte, ndbPage)
	copy(data, "RpmP")
	le.PutUint32(data[12:], 1)
	for at := 2 * ndbBlock; at < ndbPage; at += ndbBlock {
		copy(data[at:], "Slot")
	}
	slot := data[3*ndbBlock:]
	le.PutUint32(slot[4:], 7)
	le.PutUint32(slot[8:], ndbPage/ndbBlock)
	block := make([]byte, ndbBlock)
	copy(block, "BlkS")
	le.PutUint32(block[4:], 7)
	le.PutUint32(block[12:], uint32(len(value)))
	return append(append(data, block...), value...)
}

// rpmHeader is that of a package with a name, a version and a release.
func rpmHeader(texts ...string) []byte {
	var index, data []byte
	for i, text := range texts {
		for _, v := range []uint32{rpmName + uint32(i), 6, uint32(len(data)), 1} {
			index = binary.BigEndian.AppendUint32(index, v)
		}
		data = append(append(data, text...), 0)
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(texts)))
	return append(append(binary.BigEndian.AppendUint32(head, uint32(len(data))), index...), data...)
}

func TestReadRPMOthers(t *testing.T) {
	header := rpmHeader("bash", strings.Repeat("5", 700), "1.el8")
	for name, data := range map[string][]byte{
		"var/lib/rpm/Packages":             berkeleyOf(512, header),
		"usr/lib/sysimage/rpm/Packages.db": ndbOf(header),
	} {
		found := Read(rootOf(t, map[string]string{name: string(data)}))
		if len(found.Packages) != 1 || found.Packages[0].Name != "bash" || found.Err() != nil {
			t.Errorf("%s: got %+v", name, found)
		}
		for _, cut := range []int{100, 600, len(data) - 20} {
			found := Read(rootOf(t, map[string]string{name: string(data[:cut])}))
			if len(found.Unread) != 1 {
				t.Errorf("%s, of which %d bytes are there: got %+v", name, cut, found)
			}
		}
	}
}
