// Package sbom writes down what is in an image for those who get it: a manifest of its packages,
// and bills of materials in SPDX and CycloneDX. How packages are found is the business of package
// packages, and who has made the image from what that of package provenance.
//
// The formats are https://spdx.github.io/spdx-spec/v2.3, https://cyclonedx.org/docs/1.6/json and,
// of the manifest, that of "dpkg-query -W", as Ubuntu has it beside its images. Documents about
// the same image are the same bytes: what tells them from others is made of what they say.
package sbom

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/github/go-spdx/v2/spdxexp"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/packages"
)

// An Image is what documents are about.
type Image struct {
	Name         string // such as debian-bookworm-amd64-default-20260102_0304
	Version      string // what tells builds of it apart
	Description  string
	Distribution string // as whoever has built it calls it, if the image does not say what it is
	Release      string
	File         string // with its root file system
	SHA256       string // of that
	Created      time.Time

	packages.List
}

// Kinds are the documents there are of an image, by the ends of their names, which follow that
// of the file with the root file system.
var Kinds = []Kind{
	{".manifest", Image.Manifest},
	{".spdx.json", Image.SPDX},
	{".cdx.json", Image.CycloneDX},
}

// A Kind is one of them.
type Kind struct {
	Suffix string
	Write  func(Image) ([]byte, error)
}

// Manifest returns a line for each package: its name, a tab, and its version. Where a package may
// be there for several architectures dpkg names it with its own.
func (i Image) Manifest() ([]byte, error) {
	var out bytes.Buffer
	for _, p := range i.Packages {
		name := p.Name
		if p.Several {
			name += ":" + p.Arch
		}
		fmt.Fprintf(&out, "%s\t%s\n", name, p.Version)
	}
	return out.Bytes(), nil
}

// tool is what has written the documents. Its version is in the provenance: here it would make
// another document of the same.
const tool = "imagebuilder"

// system is what the image says that it is, or else whoever has built it.
func (i Image) system() packages.System {
	if i.System.ID != "" {
		return i.System
	}
	return packages.System{ID: strings.ToLower(i.Distribution), Version: i.Release}
}

// distinct are the packages without those that a database has twice.
func (i Image) distinct() []packages.Package {
	seen := make(map[string]bool)
	return slices.DeleteFunc(slices.Clone(i.Packages), func(p packages.Package) bool {
		again := seen[identity(p)]
		seen[identity(p)] = true
		return again
	})
}

// identity tells a package from the others of an image.
func identity(p packages.Package) string {
	return strings.Join([]string{p.Manager, p.Name, p.Version, p.Arch}, " ")
}

// created is the time of an image as both formats have it.
func (i Image) created() string { return i.Created.UTC().Format("2006-01-02T15:04:05Z") }

// uuid is the name of a document, made of what it says.
func uuid(of string, said []byte) string {
	sum := digest.Sum(append([]byte(of+"\n"), said...))
	id := sum[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // version 8: by rules of one's own
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// encode writes a document for programs and for diff.
func encode(document any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	err := enc.Encode(document)
	return out.Bytes(), err
}

// maxExpression bounds what is looked at as an expression of licences, in bytes.
const maxExpression = 500

// expression tells whether a licence is said in the way of SPDX, by names of its list alone.
func expression(license string) bool {
	if license == "" || len(license) > maxExpression {
		return false
	}
	ok, _ := spdxexp.ValidateLicensesWithOptions([]string{license},
		spdxexp.ValidateLicensesOptions{FailAllLicenseRefs: true, FailAllDocumentRefs: true})
	return ok
}

// webPage tells whether a text is the address of one.
func webPage(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.String() == text
}

// maintainer is the name in a text such as "Ann <ann@example.org>", and the address.
func maintainer(text string) (name, address string) {
	name, address, ok := strings.Cut(text, "<")
	address, _, _ = strings.Cut(address, ">")
	if name = strings.Trim(name, ` "`); ok && name == "" {
		return address, address
	}
	return name, address
}
