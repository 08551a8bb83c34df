// Package provenance says where images come from in a form that others can check: a statement
// of in-toto with the provenance of SLSA, which a key may sign. What a build was it is told,
// and whether a build can be done again is not its business.
//
// The formats are https://in-toto.io/Statement/v1, https://slsa.dev/provenance/v1 and
// https://github.com/secure-systems-lab/dsse.
package provenance

import (
	"bytes"
	"encoding/json"
	"time"
)

// BuildType is what builds are told from others by: a recipe is run with options.
const BuildType = "urn:imagebuilder:recipe:1"

// PredicateType is that of SLSA's provenance.
const PredicateType = "https://slsa.dev/provenance/v1"

// builderID is who has built: whoever has the key, with this tool.
const builderID = "urn:imagebuilder"

// A Build is what is said of one.
type Build struct {
	Recipe  string   `json:"recipe"`            // by the name it was run by
	Options []string `json:"options,omitempty"` // that it was given, each as name=value
	Epoch   string   `json:"epoch,omitempty"`   // the time that stood still, seconds since 1970; "": it did not

	Images []Resource `json:"images"` // what came of it
	Inputs []Resource `json:"inputs"` // the text of the recipe, of what it loads, and all that was read
	Layers []Layer    `json:"layers"` // what the images are made of, in their order

	Version string            `json:"version"`         // of the tool
	Tools   map[string]string `json:"tools,omitempty"` // versions of programs of the machine, by name

	Started time.Time `json:"started,omitzero"` // zero: it is not said
	Ended   time.Time `json:"ended,omitzero"`
}

// A Resource is a file.
type Resource struct {
	Name     string `json:"name,omitempty"` // or
	URI      string `json:"uri,omitempty"`
	SHA256   string `json:"sha256"`
	SignedBy string `json:"signed_by,omitempty"` // fingerprint or id of the key by which it was verified; "": it was not
}

// A Layer is the result of a step.
type Layer struct {
	Key  string `json:"key"` // in the cache of whoever has the same recipe
	Step string `json:"step"`
	What string `json:"what,omitempty"` // for people
}

// Statement returns the statement as JSON, which is the same for the same build.
func (b Build) Statement() ([]byte, error) {
	version := map[string]string{"imagebuilder": b.Version}
	for name, v := range b.Tools {
		version[name] = v
	}
	s := statement{Type: statementType, Subject: descriptors(b.Images), PredicateType: PredicateType, Predicate: &predicate{
		BuildDefinition: definition{
			BuildType:            BuildType,
			ExternalParameters:   external{b.Recipe, b.Options},
			InternalParameters:   internal{b.Epoch},
			ResolvedDependencies: descriptors(b.Inputs),
		},
		RunDetails: details{
			Builder:  builder{ID: builderID, Version: version},
			Metadata: metadata{seconds(b.Started), seconds(b.Ended)},
		},
	}}
	for _, l := range b.Layers {
		note := map[string]string{"step": l.Step, "what": l.What}
		s.Predicate.RunDetails.Byproducts = append(s.Predicate.RunDetails.Byproducts, descriptor{Name: l.Key, Annotations: note})
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(s)
	return bytes.TrimSpace(out.Bytes()), err
}

// seconds is a time without what is less than one.
func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
