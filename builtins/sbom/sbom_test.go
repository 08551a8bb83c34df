package sbom

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx"
	"github.com/spdx/tools-golang/spdxlib"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/packages"
)

var sample = Image{
	Name: "debian-bookworm-amd64-default-1", Version: "1", Description: "Debian", Distribution: "Debian", Release: "bookworm",
	File: "rootfs.squashfs", SHA256: strings.Repeat("0a", 32), Created: time.Unix(1760000000, 5).In(time.FixedZone("", 3600)),
	List: packages.List{System: packages.System{ID: "debian", Version: "12"}, Packages: []packages.Package{
		{Manager: "dpkg", Name: "libc6", Version: "2.36-9+deb12u10", Arch: "amd64", Several: true, Source: "glibc", SourceVersion: "2.36", Maintainer: `"Ann" <ann@example.org>`, Homepage: "https://example.org/"},
		{Manager: "dpkg", Name: "libc6", Version: "2.36-9+deb12u10", Arch: "i386", Several: true, License: "GPLv2+ and more"},
		{Manager: "dpkg", Name: "libstdc++6", Version: "1:12", Arch: "amd64", License: "MIT AND (BSD-2-Clause OR GPL-2.0-or-later WITH GCC-exception-3.1)"},
		{Manager: "rpm", Name: "bash", Version: "1:5.2-1.fc40", Arch: "x86_64", License: "LicenseRef-mine", Source: "bash-5.2-1.fc40", Homepage: "not a page"},
		{Manager: "portage", Name: "sys-libs/glibc", Version: "2.40-r5", License: "GPLv2+ and more"},
		{Manager: "portage", Name: "sys-libs/glibc", Version: "2.40-r5"},
	}},
}

func TestManifest(t *testing.T) {
	got, err := sample.Manifest()
	want := "libc6:amd64\t2.36-9+deb12u10\nlibc6:i386\t2.36-9+deb12u10\nlibstdc++6\t1:12\nbash\t1:5.2-1.fc40\nsys-libs/glibc\t2.40-r5\nsys-libs/glibc\t2.40-r5\n"
	if string(got) != want || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestPurl(t *testing.T) {
	debian := packages.System{ID: "debian", Version: "12"}
	tests := []struct {
		p    packages.Package
		of   packages.System
		want string
	}{
		{sample.Packages[0], debian, "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12&upstream=glibc%402.36"},
		{sample.Packages[2], debian, "pkg:deb/debian/libstdc%2B%2B6@1:12?arch=amd64&distro=debian-12"},
		{sample.Packages[3], packages.System{ID: "fedora", Version: "40"}, "pkg:rpm/fedora/bash@5.2-1.fc40?arch=x86_64&distro=fedora-40&epoch=1&upstream=bash-5.2-1.fc40.src.rpm"},
		{packages.Package{Manager: "pacman", Name: "a", Version: "1-1"}, packages.System{ID: "arch"}, "pkg:alpm/arch/a@1-1?distro=arch"},
		{packages.Package{Manager: "apk", Name: "a", Version: "1-r0"}, packages.System{ID: "alpine", Version: "3.20"}, "pkg:apk/alpine/a@1-r0?distro=alpine-3.20"},
		{packages.Package{Manager: "xbps", Name: "a", Version: "1_1"}, packages.System{ID: "void"}, "pkg:generic/void/a@1_1?distro=void"},
		{sample.Packages[4], packages.System{ID: "gentoo"}, "pkg:generic/gentoo/sys-libs%2Fglibc@2.40-r5?distro=gentoo"},
	}
	for _, test := range tests {
		if got := purl(test.p, test.of); got != test.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", test.p, got, test.want)
		}
	}
}

// What is written is valid, the same each time, and another for another image.
func TestDocuments(t *testing.T) {
	schema := schemaOfCycloneDX(t)
	other := sample
	other.SHA256 = strings.Repeat("0b", 32)
	unread := sample
	unread.Unread = []string{"the rpm database is not read: it is damaged"}
	for _, image := range []Image{sample, other, unread, {Name: "empty", Created: sample.Created, SHA256: sample.SHA256}} {
		checkDocuments(t, schema, image)
	}
	for _, kind := range Kinds[1:] {
		one, _ := kind.Write(sample)
		two, _ := kind.Write(other)
		for _, id := range []string{"documentNamespace", "serialNumber"} {
			if got := valueOf(t, one, id); got != nil && got == valueOf(t, two, id) {
				t.Errorf("%s of two images is %s", id, got)
			}
		}
	}
	said, _ := unread.CycloneDX()
	if !bytes.Contains(said, []byte(`"aggregate": "incomplete"`)) || !bytes.Contains(said, []byte("it is damaged")) {
		t.Errorf("it does not say that packages are missing: %s", said)
	}
}

func valueOf(t *testing.T, document []byte, name string) any {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(document, &fields); err != nil {
		t.Fatal(err)
	}
	return fields[name]
}

// checkDocuments validates the documents of an image: CycloneDX by the published schema, SPDX by
// the library's own reader and checks, and by what the specification says of texts.
func checkDocuments(t *testing.T, schema *jsonschema.Schema, image Image) {
	t.Helper()
	for _, kind := range Kinds {
		one, err := kind.Write(image)
		two, _ := kind.Write(image)
		if err != nil || !bytes.Equal(one, two) {
			t.Errorf("%s: %v: the same image has two documents:\n%s\n%s", kind.Suffix, err, one, two)
		}
	}
	bom, _ := image.CycloneDX()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(bom))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		t.Errorf("not CycloneDX: %v\n%s", err, bom)
	}
	text, _ := image.SPDX()
	var d spdx.Document
	if err := spdxjson.ReadInto(bytes.NewReader(text), &d); err != nil {
		t.Fatalf("not SPDX: %v\n%s", err, text)
	}
	if err := spdxlib.ValidateDocument(&d); err != nil {
		t.Errorf("not SPDX: %v\n%s", err, text)
	}
	licenses := make(map[string]bool)
	for _, l := range d.OtherLicenses {
		licenses[l.LicenseIdentifier] = l.ExtractedText != ""
	}
	ids := make(map[string]bool)
	for _, p := range d.Packages {
		id := string(p.PackageSPDXIdentifier)
		if ids[id] || strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "" {
			t.Errorf("the id %q is there twice, or none", id)
		}
		ids[id] = true
		if l := p.PackageLicenseDeclared; l != "NOASSERTION" && !licenses[l] && !expression(l) {
			t.Errorf("%s has the licence %q, which is nowhere", id, l)
		}
	}
	if len(d.Relationships) != len(d.Packages) {
		t.Errorf("%d packages and %d relationships", len(d.Packages), len(d.Relationships))
	}
}

// schemaOfCycloneDX is the published one, which the library has with it.
func schemaOfCycloneDX(t testing.TB) *jsonschema.Schema {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Skipf("cannot tell where the schema is: %v", err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for url, file := range map[string]string{
		"http://cyclonedx.org/schema/bom-1.6.schema.json":  "bom-1.6.schema.json",
		"http://cyclonedx.org/schema/spdx.schema.json":     "spdx.schema.json",
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		name := filepath.Join(strings.TrimSpace(string(dir)), "schema", file)
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = c.AddResource(url, doc)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// Whatever a database says, the documents are valid.
func FuzzDocuments(f *testing.F) {
	f.Add("Package: a\nVersion: 1:2\nLicense: MIT AND x\nMaintainer: <a@b>\nHomepage: http://[\nSource: b (1)\nMulti-Arch: same\n")
	f.Add("Package: \x00\xff\"\\\nVersion: \u2028\nLicense: ((((\nMaintainer: NOASSERTION\nArchitecture: &?#\n")
	schema := schemaOfCycloneDX(f)
	f.Fuzz(func(t *testing.T, status string) {
		dir := t.TempDir()
		if err := os.MkdirAll(dir+"/var/lib/dpkg", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/var/lib/dpkg/status", []byte(status), 0o644); err != nil {
			t.Fatal(err)
		}
		root, err := dirfd.Open(dir, dirfd.InRoot)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		image := sample
		image.List = packages.Read(root)
		checkDocuments(t, schema, image)
		manifest, _ := image.Manifest()
		if got := bytes.Count(manifest, []byte("\n")); got != len(image.Packages) {
			t.Errorf("%d lines for %d packages", got, len(image.Packages))
		}
	})
}
