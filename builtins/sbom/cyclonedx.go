package sbom

import (
	"bytes"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"imagebuilder/builtins/packages"
)

// CycloneDX returns the bill of materials as JSON of CycloneDX 1.6.
func (i Image) CycloneDX() ([]byte, error) {
	const root = "image"
	var components []cdx.Component
	if system := i.system(); system.ID != "" {
		components = append(components, cdx.Component{
			BOMRef: "operating-system", Type: cdx.ComponentTypeOS, Name: system.ID, Version: system.Version,
		})
	}
	for _, p := range i.distinct() {
		components = append(components, i.component(p))
	}
	refs := make([]string, len(components))
	for n, c := range components {
		refs[n] = c.BOMRef
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{
		Timestamp: i.created(),
		Tools:     &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: tool}}},
		Component: &cdx.Component{
			BOMRef: root, Type: cdx.ComponentTypeContainer, Name: i.Name, Version: i.Version, Description: i.Description,
			Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: i.SHA256}},
			Properties: &[]cdx.Property{{Name: "imagebuilder:file", Value: i.File}},
		},
	}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: root, Dependencies: &refs}}
	aggregate := cdx.CompositionAggregateUnknown // files that are of no package are not listed
	if i.Err() != nil {
		aggregate = cdx.CompositionAggregateIncomplete
		var why []cdx.Property
		for _, text := range i.Unread {
			why = append(why, cdx.Property{Name: "imagebuilder:unread", Value: text})
		}
		bom.Metadata.Properties = &why
	}
	bom.Compositions = &[]cdx.Composition{{Aggregate: aggregate, Assemblies: &[]cdx.BOMReference{root}}}
	said, err := encodeBOM(bom)
	if err != nil {
		return nil, err
	}
	bom.SerialNumber = uuid("cyclonedx", said)
	return encodeBOM(bom)
}

func encodeBOM(bom *cdx.BOM) ([]byte, error) {
	var out bytes.Buffer
	err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6)
	return out.Bytes(), err
}

func (i Image) component(p packages.Package) cdx.Component {
	c := cdx.Component{
		BOMRef: identity(p), Type: cdx.ComponentTypeLibrary, Name: p.Name, Version: p.Version, Description: p.Summary, PackageURL: purl(p, i.system()),
	}
	if name, _ := maintainer(p.Maintainer); name != "" {
		c.Supplier = &cdx.OrganizationalEntity{Name: name}
	}
	switch {
	case expression(p.License):
		c.Licenses = &cdx.Licenses{{Expression: p.License}}
	case p.License != "":
		c.Licenses = &cdx.Licenses{{License: &cdx.License{Name: p.License}}}
	}
	if webPage(p.Homepage) {
		c.ExternalReferences = &[]cdx.ExternalReference{{Type: cdx.ERTypeWebsite, URL: p.Homepage}}
	}
	if p.Source != "" {
		c.Properties = &[]cdx.Property{{Name: "imagebuilder:source", Value: p.Source}}
		if p.SourceVersion != "" {
			*c.Properties = append(*c.Properties, cdx.Property{Name: "imagebuilder:source_version", Value: p.SourceVersion})
		}
	}
	return c
}
