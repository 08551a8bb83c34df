package sbom

import (
	"fmt"
	"strings"

	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/packages"
)

// nobodySays is what SPDX has where nothing is said.
const nobodySays = "NOASSERTION"

// SPDX returns the bill of materials as JSON of SPDX 2.3: the image, the system that it is, and
// the packages in it.
func (i Image) SPDX() ([]byte, error) {
	d := &v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: i.Name,
		DocumentComment: strings.Join(i.Unread, "; "),
		CreationInfo:    &v2_3.CreationInfo{Created: i.created(), Creators: []common.Creator{{CreatorType: "Tool", Creator: tool}}},
	}
	image := i.spdxImage()
	add := func(p *v2_3.Package, of common.ElementID, how string) {
		d.Packages = append(d.Packages, p)
		d.Relationships = append(d.Relationships, &v2_3.Relationship{
			RefA: common.DocElementID{ElementRefID: of}, RefB: common.DocElementID{ElementRefID: p.PackageSPDXIdentifier}, Relationship: how,
		})
	}
	add(image, d.SPDXIdentifier, common.TypeRelationshipDescribe)
	if system := i.system(); system.ID != "" {
		p := spdxPackage("OperatingSystem", system.ID, system.Version)
		p.PrimaryPackagePurpose = "OPERATING-SYSTEM"
		add(p, image.PackageSPDXIdentifier, common.TypeRelationshipContains)
	}
	licenses := make(map[string]bool)
	for _, one := range i.distinct() {
		p := i.spdxOf(one)
		if ref := p.PackageLicenseDeclared; strings.HasPrefix(ref, "LicenseRef-") && !licenses[ref] {
			licenses[ref] = true
			d.OtherLicenses = append(d.OtherLicenses, &v2_3.OtherLicense{LicenseIdentifier: ref, ExtractedText: one.License, LicenseName: one.License})
		}
		add(p, image.PackageSPDXIdentifier, common.TypeRelationshipContains)
	}
	said, err := encode(d)
	if err != nil {
		return nil, err
	}
	d.DocumentNamespace = uuid("spdx", said)
	return encode(d)
}

func (i Image) spdxImage() *v2_3.Package {
	p := spdxPackage("Image", i.Name, i.Version)
	p.PrimaryPackagePurpose = "CONTAINER"
	p.PackageFileName = i.File
	p.PackageSummary = i.Description
	p.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: i.SHA256}}
	return p
}

// spdxPackage is a package of which nothing else is known.
func spdxPackage(id, name, version string) *v2_3.Package {
	return &v2_3.Package{
		PackageSPDXIdentifier: common.ElementID(id), PackageName: name, PackageVersion: version,
		PackageSupplier:         &common.Supplier{Supplier: nobodySays},
		PackageDownloadLocation: nobodySays, PackageLicenseConcluded: nobodySays, PackageLicenseDeclared: nobodySays,
		PackageCopyrightText: nobodySays,
	}
}

func (i Image) spdxOf(one packages.Package) *v2_3.Package {
	p := spdxPackage(fmt.Sprintf("Package-%s-%.12s", idText(one.Name), digest.Sum([]byte(identity(one)))), one.Name, one.Version)
	if name, address := maintainer(one.Maintainer); name != "" {
		if address != "" {
			name += " (" + address + ")"
		}
		p.PackageSupplier = &common.Supplier{SupplierType: "Organization", Supplier: name}
	}
	switch {
	case expression(one.License):
		p.PackageLicenseDeclared = one.License
	case one.License != "":
		p.PackageLicenseDeclared = fmt.Sprintf("LicenseRef-%.12s", digest.Sum([]byte(one.License)))
	}
	if webPage(one.Homepage) {
		p.PackageHomePage = one.Homepage
	}
	if one.Source != "" {
		p.PackageSourceInfo = strings.TrimSpace("built from the source package " + one.Source + " " + one.SourceVersion)
	}
	p.PackageSummary = one.Summary
	p.PackageExternalReferences = []*v2_3.PackageExternalReference{{
		Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: purl(one, i.system()),
	}}
	return p
}

// idText is a text as an identifier of SPDX may have it.
func idText(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, text)
}
