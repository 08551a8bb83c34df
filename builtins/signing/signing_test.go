package signing

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

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

func TestSign(t *testing.T) {
	const kind = "text/plain"
	curve := func(c elliptic.Curve) func() (string, string) {
		return func() (string, string) {
			key, err := ecdsa.GenerateKey(c, rand.Reader)
			return pair(t, key, err)
		}
	}
	keys := map[string]func() (string, string){
		"ed25519": func() (string, string) { return ed25519Pair(t) },
		"p256":    curve(elliptic.P256()),
		"p384":    curve(elliptic.P384()),
	}
	_, stranger := ed25519Pair(t)
	other, err := ParseKey([]byte(stranger))
	if err != nil {
		t.Fatal(err)
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
		envelope, err := signer.Sign(context.Background(), kind, []byte("text"))
		if err != nil {
			t.Fatalf("%s: Sign: %v", name, err)
		}
		for which, trusted := range map[string][]Key{"the public key": {verifier}, "the private key": {signer}, "any of two": {other, verifier}} {
			if got, err := Open(context.Background(), kind, envelope, trusted...); err != nil || string(got) != "text" {
				t.Errorf("%s: Open with %s: %q, %v", name, which, got, err)
			}
		}
		if got, err := Open(context.Background(), kind, envelope, other); err == nil || !strings.Contains(err.Error(), "another key has signed it") {
			t.Errorf("%s: Open with another key: %q, %v", name, got, err)
		}
		if got, err := Open(context.Background(), "text/html", envelope, verifier); err == nil || !strings.Contains(err.Error(), "its content is of type") {
			t.Errorf("%s: Open of another kind: %q, %v", name, got, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	private, _ := ed25519Pair(f)
	key, err := ParsePrivateKey([]byte(private))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"payloadType":"x","payload":"eA==","signatures":[{"keyid":"","sig":"eA=="}]}`))
	f.Add([]byte(`{"payloadType":"x","signatures":[{}]}`))
	f.Fuzz(func(t *testing.T, envelope []byte) {
		if content, err := Open(context.Background(), "x", envelope, key); err == nil {
			t.Errorf("the key has not signed %q", content)
		}
	})
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
