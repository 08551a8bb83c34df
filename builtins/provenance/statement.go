package provenance

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"imagebuilder/builtins/digest"
)

// Statements as JSON, as far as they say something of a build.

// statementType is that of all statements.
const statementType = "https://in-toto.io/Statement/v1"

type statement struct {
	Type          string       `json:"_type"`
	Subject       []descriptor `json:"subject"`
	PredicateType string       `json:"predicateType"`
	Predicate     *predicate   `json:"predicate"`
}

// A descriptor says what a file is: see
// https://github.com/in-toto/attestation/blob/main/spec/v1/resource_descriptor.md.
type descriptor struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// A predicate is SLSA's provenance.
type predicate struct {
	BuildDefinition definition `json:"buildDefinition"`
	RunDetails      details    `json:"runDetails"`
}

type definition struct {
	BuildType            string       `json:"buildType"`
	ExternalParameters   external     `json:"externalParameters"`
	InternalParameters   internal     `json:"internalParameters"`
	ResolvedDependencies []descriptor `json:"resolvedDependencies,omitempty"`
}

type external struct {
	Recipe  string   `json:"recipe"`
	Options []string `json:"options,omitempty"`
}

type internal struct {
	Epoch string `json:"epoch,omitempty"`
	Lock  string `json:"lock,omitempty"`
}

type details struct {
	Builder    builder      `json:"builder"`
	Metadata   metadata     `json:"metadata,omitzero"`
	Byproducts []descriptor `json:"byproducts,omitempty"`
}

type builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

type metadata struct {
	StartedOn  time.Time `json:"startedOn,omitzero"`
	FinishedOn time.Time `json:"finishedOn,omitzero"`
}

// parse reads a statement. One with more in it than this version knows is read as well.
func parse(text []byte) (Build, error) {
	var kind struct {
		Type          string `json:"_type"`
		PredicateType string `json:"predicateType"`
		Predicate     struct {
			BuildDefinition struct {
				BuildType string `json:"buildType"`
			} `json:"buildDefinition"`
		} `json:"predicate"`
	}
	if err := json.Unmarshal(text, &kind); err != nil {
		return Build{}, fmt.Errorf("it holds no statement of in-toto: %w", err)
	}
	for _, is := range []struct{ what, got, want string }{
		{"type", kind.Type, statementType},
		{"predicate", kind.PredicateType, PredicateType},
		{"kind of build", kind.Predicate.BuildDefinition.BuildType, BuildType},
	} {
		if is.got != is.want {
			return Build{}, fmt.Errorf("it is about something else: its %s is %q, not %s", is.what, is.got, is.want)
		}
	}
	var s statement
	if err := json.Unmarshal(text, &s); err != nil {
		return Build{}, fmt.Errorf("it holds no provenance of SLSA: %w", err)
	}
	if len(s.Subject) == 0 {
		return Build{}, fmt.Errorf("it is about no image")
	}
	for _, image := range s.Subject {
		if _, err := digest.Parse(image.Digest["sha256"]); err != nil {
			return Build{}, fmt.Errorf("it does not say which image it is about: %q: %w", image.Name, err)
		}
	}
	return s.build(), nil
}

// build is what a statement says.
func (s statement) build() Build {
	p := s.Predicate
	b := Build{
		Recipe:  p.BuildDefinition.ExternalParameters.Recipe,
		Options: p.BuildDefinition.ExternalParameters.Options,
		Epoch:   p.BuildDefinition.InternalParameters.Epoch,
		Lock:    p.BuildDefinition.InternalParameters.Lock,
		Images:  resources(s.Subject),
		Inputs:  resources(p.BuildDefinition.ResolvedDependencies),
		Version: p.RunDetails.Builder.Version["imagebuilder"],
		Tools:   maps.Clone(p.RunDetails.Builder.Version),
		Started: p.RunDetails.Metadata.StartedOn,
		Ended:   p.RunDetails.Metadata.FinishedOn,
	}
	delete(b.Tools, "imagebuilder")
	for _, l := range p.RunDetails.Byproducts {
		b.Layers = append(b.Layers, Layer{l.Name, l.Annotations["step"], l.Annotations["what"]})
	}
	return b
}

func descriptors(list []Resource) []descriptor {
	var ds []descriptor
	for _, r := range list {
		d := descriptor{Name: r.Name, URI: r.URI}
		if r.SHA256 != "" {
			d.Digest = map[string]string{"sha256": r.SHA256}
		}
		if r.SignedBy != "" {
			d.Annotations = map[string]string{"signedBy": r.SignedBy}
		}
		ds = append(ds, d)
	}
	return ds
}

func resources(list []descriptor) []Resource {
	var rs []Resource
	for _, d := range list {
		rs = append(rs, Resource{d.Name, d.URI, d.Digest["sha256"], d.Annotations["signedBy"]})
	}
	return rs
}
