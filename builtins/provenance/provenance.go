// Package provenance says where images come from in a form that others can check: a statement
// of in-toto with the provenance of SLSA, which a key may sign. What a build was it is told,
// and whether a build can be done again is not its business.
//
// The formats are https://in-toto.io/Statement/v1, https://slsa.dev/provenance/v1 and
// https://github.com/secure-systems-lab/dsse.
package provenance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/signing"
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

	// Lock is the name of the input that pins what came over the wire; "": nothing does.
	Lock string `json:"lock,omitempty"`

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
			InternalParameters:   internal{b.Epoch, b.Lock},
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

// Same finds out whether an input that has a name is still what the images were made with. What
// they were made without is the business of whoever asks for it.
func (b Build) Same(name, sha256 string) error {
	for _, in := range b.Inputs {
		if in.Name == name && in.SHA256 != sha256 {
			return fmt.Errorf("%s is not the one that the images were made with: it has the SHA-256 %s, not %s", name, sha256, in.SHA256)
		}
	}
	return nil
}

// seconds is a time without what is less than one.
func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// payloadType is what the envelope of a statement holds.
const payloadType = "application/vnd.in-toto+json"

// Names of files beside the images that they are about: the signed envelope, and the statement as
// it is, by the name that BuildKit has given it.
const (
	Name         = "provenance.intoto.jsonl"
	UnsignedName = "provenance.json"
)

// Sign returns the signed envelope of the statement.
func (b Build) Sign(ctx context.Context, k signing.Key) ([]byte, error) {
	statement, err := b.Statement()
	if err != nil {
		return nil, err
	}
	return k.Sign(ctx, payloadType, statement)
}

var errUnsigned = errors.New("nobody has signed it: 'imagebuilder run --sign-key' writes " + Name)

// Open returns what an envelope says of a build if the key has signed it.
func Open(ctx context.Context, envelope []byte, k signing.Key) (Build, error) {
	statement, err := signing.Open(ctx, payloadType, envelope, k)
	if err != nil {
		if _, no := parse(envelope); no == nil {
			return Build{}, errUnsigned
		}
		return Build{}, err
	}
	return parse(statement)
}

// Write writes what is said of the images in a directory there, signed with a key if there is
// one, and returns the path of the file, and its bytes. What is signed takes the place of what was
// not; the other way round, that may still be true of images that have not changed.
func Write(ctx context.Context, dir string, said Build, k *signing.Key) (string, []byte, error) {
	name, write := UnsignedName, said.Statement
	if k != nil {
		name, write = Name, func() ([]byte, error) { return said.Sign(ctx, *k) }
	}
	text, err := write()
	text = append(text, '\n')
	if err == nil {
		err = put(dir, name, text)
	}
	path := filepath.Join(dir, name)
	if err != nil {
		return "", nil, fmt.Errorf("cannot write %s: %w", path, err)
	}
	return path, text, nil
}

// put replaces a file of a directory.
func put(dir, name string, text []byte) (err error) {
	d, err := dirfd.Open(dir, dirfd.Refuse)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if err := d.Replace(name, 0o644, dirfd.Bytes(text)); err != nil {
		return err
	}
	if name == UnsignedName {
		return nil
	}
	if err := d.Remove(UnsignedName); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
