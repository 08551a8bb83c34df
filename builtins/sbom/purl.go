package sbom

import (
	"strings"

	"github.com/package-url/packageurl-go"

	"imagebuilder/builtins/packages"
)

// purlTypes are the types of packages of managers, of those that are agreed upon:
// https://github.com/package-url/purl-spec. Others are generic.
var purlTypes = map[string]string{
	"apk":    packageurl.TypeApk,
	"dpkg":   packageurl.TypeDebian,
	"pacman": "alpm",
	"rpm":    packageurl.TypeRPM,
}

// purl is the name of a package that all tools know, such as
// pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12&upstream=glibc.
func purl(p packages.Package, of packages.System) string {
	kind := purlTypes[p.Manager]
	if kind == "" {
		kind = packageurl.TypeGeneric
	}
	qualifiers := make(map[string]string)
	set := func(name, value string) {
		if value != "" {
			qualifiers[name] = value
		}
	}
	version := p.Version
	if p.Manager == "rpm" {
		if epoch, rest, ok := strings.Cut(version, ":"); ok {
			set("epoch", epoch)
			version = rest
		}
	}
	set("arch", p.Arch)
	if of.ID != "" {
		set("distro", strings.TrimSuffix(of.ID+"-"+of.Version, "-"))
	}
	upstream := p.Source
	if p.SourceVersion != "" {
		upstream += "@" + p.SourceVersion
	}
	if p.Manager == "rpm" && upstream != "" {
		upstream += ".src.rpm"
	}
	set("upstream", upstream)
	return packageurl.NewPackageURL(kind, of.ID, p.Name, version, packageurl.QualifiersFromMap(qualifiers), "").ToString()
}
