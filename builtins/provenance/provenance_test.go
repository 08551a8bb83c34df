package provenance

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// sample is a build with something in every field.
func sample() Build {
	return Build{
		Recipe:  "debian",
		Options: []string{"release=bookworm", "odd=a=<b>&\xff"},
		Epoch:   "1760000000",
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

// pair returns a private key and its public one as PEM.
func pair(t testing.TB, private crypto.Signer, err error) (string, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", secret), block("PUBLIC KEY", public)
}

func block(kind string, data []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
}

// ed25519Pair makes keys of the kind that tests use where it does not matter.
func ed25519Pair(t testing.TB) (private, public string) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return pair(t, key, err)
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
	statement, err := sample().Statement()
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]func() (string, string){
		"ed25519": func() (string, string) { return ed25519Pair(t) },
		"p256": func() (string, string) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			return pair(t, key, err)
		},
		"p384": func() (string, string) {
			key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
			return pair(t, key, err)
		},
	}
	for name, generate := range keys {
		private, public := generate()
		signer, err := ParsePrivateKey([]byte(private))
		if err != nil {
			t.Fatalf("%s: ParsePrivateKey: %v", name, err)
		}
		verifier, err := ParseKey([]byte(public))
		if err != nil {
			t.Fatalf("%s: ParseKey: %v", name, err)
		}
		envelope, err := Sign(context.Background(), statement, signer)
		if err != nil {
			t.Fatalf("%s: Sign: %v", name, err)
		}
		for which, key := range map[string]Key{"public": verifier, "private": signer} {
			got, err := Open(context.Background(), envelope, key)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: Open with the %s key: error %v, got:\n%+v\nwant:\n%+v", name, which, err, got, want)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	private, public := ed25519Pair(t)
	_, other := ed25519Pair(t)
	signer, err := ParsePrivateKey([]byte(private))
	if err != nil {
		t.Fatal(err)
	}
	statement, err := sample().Statement()
	if err != nil {
		t.Fatal(err)
	}
	signed := func(text string) string {
		envelope, err := Sign(context.Background(), []byte(text), signer)
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
		{"no JSON", "x", public, "it is not a signed provenance: invalid character 'x'"},
		{"another thing", "{}", public, `it is not a signed provenance: its content is of type ""`},
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
		key, err := ParseKey([]byte(tt.key))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(context.Background(), []byte(tt.envelope), key); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Open: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	_, public := ed25519Pair(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	rsaPrivate, rsaPublic := pair(t, rsaKey, err)
	tests := []struct{ name, text, want string }{
		{"no PEM", "x", "it is not in PEM form"},
		{"no key", block("PUBLIC KEY", []byte("x")), "unsupported PEM type"},
		{"RSA", rsaPrivate, "it is a key for rsa, want Ed25519 or ECDSA"},
		{"a public RSA one", rsaPublic, "it is a key for rsa, want Ed25519 or ECDSA"},
		{"a public one", public, "it is a public key: to sign takes the private one"},
	}
	for _, tt := range tests {
		if _, err := ParsePrivateKey([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: ParsePrivateKey: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	private, _ := ed25519Pair(f)
	key, err := ParsePrivateKey([]byte(private))
	if err != nil {
		f.Fatal(err)
	}
	statement, err := sample().Statement()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(statement)
	f.Add([]byte(fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"%s"}}],"predicateType":%q,"predicate":{}}`, sum("x"), PredicateType)))
	f.Fuzz(func(t *testing.T, statement []byte) {
		envelope, err := Sign(context.Background(), statement, key)
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
