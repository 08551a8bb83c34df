package provenance

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"imagebuilder/builtins/signing"
)

// sample is a build with something in every field.
func sample() Build {
	return Build{
		Recipe:  "debian",
		Options: []string{"release=bookworm", "odd=a=<b>&\xff"},
		Epoch:   "1760000000",
		Lock:    "debian.lock",
		Images:  []Resource{{Name: "rootfs.squashfs", SHA256: sum("image")}},
		Inputs: []Resource{
			{Name: "debian.star", SHA256: sum("recipe")},
			{URI: "https://example.org/rootfs.tar.xz", SHA256: sum("input"), SignedBy: "ABCD"},
		},
		Layers:  []Layer{{"key", "chroot_run", "true"}},
		Version: "0.1.0",
		Tools:   map[string]string{"tar": "tar (GNU tar) 1.34"},
		Started: time.Unix(1760000000, 0).UTC(), Ended: time.Unix(1760000060, 0).UTC(),
	}
}

func sum(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

// Keys of nobody, made by openssl genpkey -algorithm ed25519.
const (
	private = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEICWPNAJ6F0HpiSL+jREHPJcE9UQ8NmYNjhoDmwWlWJDk
-----END PRIVATE KEY-----
`
	public = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAnI9EwLaMsOmA5czuXVzyePvGjbL09NnD3pZhzksDDGI=
-----END PUBLIC KEY-----
`
	other = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA8tRBOW1VyEDDA82mFQ0fRRloSY32qfGikB5HjUDBhNA=
-----END PUBLIC KEY-----
`
)

func signer(t testing.TB) signing.Key {
	t.Helper()
	k, err := signing.ParsePrivateKey([]byte(private))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestStatementIsTheSame(t *testing.T) {
	first, err := sample().Statement()
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		again, err := sample().Statement()
		if err != nil || string(again) != string(first) {
			t.Fatalf("a second statement of the same build: error %v, got:\n%s\nwant:\n%s", err, again, first)
		}
	}
}

// The libraries of in-toto find in a statement what is in it.
func TestInToto(t *testing.T) {
	text, err := sample().Statement()
	if err != nil {
		t.Fatal(err)
	}
	var s intoto.Statement
	if err := protojson.Unmarshal(text, &s); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	predicate, err := protojson.Marshal(s.Predicate)
	if err != nil {
		t.Fatal(err)
	}
	var p slsa.Provenance
	if err := protojson.Unmarshal(predicate, &p); err != nil {
		t.Fatalf("%v in %s", err, predicate)
	}
	if err := errors.Join(s.Validate(), p.Validate()); err != nil {
		t.Errorf("%v in %s", err, text)
	}
	if got := p.RunDetails.Metadata.StartedOn.AsTime(); !got.Equal(sample().Started) {
		t.Errorf("in-toto's library says that it was started at %v, want %v", got, sample().Started)
	}
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	want.Options[1] = "odd=a=<b>&\uFFFD"
	envelope, err := sample().Sign(context.Background(), signer(t))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := signing.ParseKey([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(context.Background(), envelope, verifier)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Open: error %v, got:\n%+v\nwant:\n%+v", err, got, want)
	}
}

func TestOpenRefuses(t *testing.T) {
	statement, err := sample().Statement()
	if err != nil {
		t.Fatal(err)
	}
	signed := func(text string) string {
		envelope, err := signer(t).Sign(context.Background(), payloadType, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return string(envelope)
	}
	changed := func(change func(envelope map[string]any)) string {
		var envelope map[string]any
		if err := json.Unmarshal([]byte(signed(string(statement))), &envelope); err != nil {
			t.Fatal(err)
		}
		change(envelope)
		text, err := json.Marshal(envelope)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	said := strings.Replace(string(statement), "bookworm", "trixie", 1)
	tests := []struct{ name, envelope, key, want string }{
		{"no JSON", "x", public, "it is no signed envelope: invalid character 'x'"},
		{"a statement alone", string(statement), public, "nobody has signed it: 'imagebuilder run --sign-key' writes provenance.intoto.jsonl"},
		{"another thing", "{}", public, `it is no signed envelope of this kind: its content is of type ""`},
		{"another key", signed(string(statement)), other, "another key has signed it: "},
		{"another content", changed(func(e map[string]any) { e["payload"] = base64.StdEncoding.EncodeToString([]byte(said)) }), public, "it was changed after it was signed"},
		{"no signature", changed(func(e map[string]any) { e["signatures"] = []any{} }), public, "nobody has signed it"},
		{"no statement", signed("[]"), public, "it holds no statement of in-toto: "},
		{"no image", signed(strings.Replace(string(statement), `"subject":[`, `"subject":[],"x":[`, 1)), public, "it is about no image"},
		{"another predicate", signed(strings.Replace(string(statement), PredicateType, "https://example.org/x", 1)), public, `its predicate is "https://example.org/x"`},
		{"another kind of build", signed(strings.Replace(string(statement), BuildType, "urn:x", 1)), public, `its kind of build is "urn:x"`},
		{"another statement", signed(strings.Replace(string(statement), statementType, "https://in-toto.io/Statement/v0.1", 1)), public, `its type is "https://in-toto.io/Statement/v0.1"`},
		{"no digest", signed(strings.Replace(string(statement), sum("image"), "00", 1)), public, "it does not say which image it is about"},
	}
	for _, tt := range tests {
		key, err := signing.ParseKey([]byte(tt.key))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(context.Background(), []byte(tt.envelope), key); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Open: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

// What is signed takes the place of what is not, and the other way round both are there.
func TestWrite(t *testing.T) {
	dir, key := t.TempDir(), signer(t)
	for i, tt := range []struct {
		key  *signing.Key
		want []string
	}{
		{nil, []string{UnsignedName}},
		{&key, []string{Name}},
		{&key, []string{Name}},
		{nil, []string{Name, UnsignedName}},
	} {
		path, text, err := Write(context.Background(), dir, sample(), tt.key)
		if err != nil {
			t.Fatal(err)
		}
		if is, err := os.ReadFile(path); err != nil || string(is) != string(text) {
			t.Errorf("%d: %s has, after error %v:\n%s\nwant:\n%s", i, path, err, is, text)
		}
		var got []string
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			got = append(got, e.Name())
		}
		slices.Sort(tt.want)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%d: the directory has %q, want %q", i, got, tt.want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	key := signer(f)
	statement, err := sample().Statement()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(statement)
	f.Add([]byte(fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"%s"}}],"predicateType":%q,"predicate":{}}`, sum("x"), PredicateType)))
	f.Fuzz(func(t *testing.T, statement []byte) {
		envelope, err := key.Sign(context.Background(), payloadType, statement)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(context.Background(), envelope, key)
		if err != nil {
			return
		}
		if len(b.Images) == 0 {
			t.Errorf("a provenance without images was accepted: %s", statement)
		}
		Open(context.Background(), statement, key) // as an envelope
	})
}
