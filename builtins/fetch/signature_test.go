package fetch

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
)

// seeds are signatures of a text with a key, and the key.
func seeds(f *testing.F, text []byte) (key *openpgp.Entity, detached, clear, binary []byte) {
	f.Helper()
	key, err := openpgp.NewEntity("x", "", "x@example.org", nil)
	if err != nil {
		f.Fatal(err)
	}
	var d, c, b bytes.Buffer
	openpgp.DetachSign(&d, key, bytes.NewReader(text), nil)
	w, _ := clearsign.Encode(&c, key.PrivateKey, nil)
	w.Write(text)
	w.Close()
	w, _ = openpgp.Sign(&b, key, nil, nil)
	w.Write(text)
	w.Close()
	return key, d.Bytes(), c.Bytes(), b.Bytes()
}

// No bytes but those of the signer are taken for a signature of a text that was not signed.
func FuzzSignature(f *testing.F) {
	key, detached, _, _ := seeds(f, []byte("text"))
	f.Add(detached)
	f.Add([]byte("untrusted comment: x\n" + base64.StdEncoding.EncodeToString(make([]byte, 74)) + "\ntrusted comment: y\n" + base64.StdEncoding.EncodeToString(make([]byte, 64))))
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	set := &keySet{openpgp: openpgp.EntityList{key}, signify: []signifyKey{{key: public}}}
	f.Fuzz(func(t *testing.T, text []byte) {
		sig, err := parseSignature(text)
		if err != nil {
			return
		}
		if signer, err := sig.check(set, bytes.NewReader([]byte("another text"))); err == nil {
			t.Errorf("signed by %s: %q", signer, text)
		}
	})
}

// Whatever a signed message looks like, what is read of it is what was signed.
func FuzzMessage(f *testing.F) {
	const text = "ab  x\n"
	key, _, clear, binary := seeds(f, []byte(text))
	f.Add(clear)
	f.Add(append([]byte("cd  x\n"), clear...))
	f.Add(binary)
	f.Add([]byte("untrusted comment: x\n" + base64.StdEncoding.EncodeToString(make([]byte, 74)) + "\ncd  x\n"))
	set := &keySet{openpgp: openpgp.EntityList{key}}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMessage(data)
		if err != nil || m.signature == nil {
			return
		}
		if signer, err := m.signature.check(set, bytes.NewReader(m.signed)); err == nil && string(bytes.TrimRight(m.text, "\n")) != "ab  x" {
			t.Errorf("signed by %s: %q", signer, m.text)
		}
	})
}
