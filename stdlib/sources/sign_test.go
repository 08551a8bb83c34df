package sources_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"sync"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Keys that are made by the tests, and what they sign.

// A signer is an OpenPGP key.
type signer struct{ entity *openpgp.Entity }

// The key that recipes are given, and one that they are not.
var (
	trusted  = sync.OnceValue(func() *signer { return newSigner("mirror") })
	stranger = sync.OnceValue(func() *signer { return newSigner("stranger") })
)

var pgpConfig = &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA256}

func newSigner(name string) *signer {
	entity, err := openpgp.NewEntity(name, "", name+"@example.org", pgpConfig)
	must(err)
	return &signer{entity}
}

// key returns the armored public key.
func (s *signer) key() string {
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	must(err)
	must(s.entity.Serialize(w))
	must(w.Close())
	return b.String() + "\n"
}

// id returns the 16 hex digits of the key by which errors name it.
func (s *signer) id() string { return fmt.Sprintf("%016X", s.entity.PrimaryKey.KeyId) }

// detached returns an armored signature of data.
func (s *signer) detached(data []byte) []byte {
	var b bytes.Buffer
	must(openpgp.ArmoredDetachSign(&b, s.entity, bytes.NewReader(data), pgpConfig))
	return b.Bytes()
}

// binary returns a signature of data as it is where nobody has armored it.
func (s *signer) binary(data []byte) []byte {
	var b bytes.Buffer
	must(openpgp.DetachSign(&b, s.entity, bytes.NewReader(data), pgpConfig))
	return b.Bytes()
}

// clear returns a clear-signed text.
func (s *signer) clear(text []byte) []byte {
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, s.entity.PrivateKey, pgpConfig)
	must(err)
	_, err = w.Write(text)
	must(err)
	must(w.Close())
	b.WriteByte('\n')
	return b.Bytes()
}

// A signify is an Ed25519 key of signify(1) and minisign(1).
type signify struct {
	public  ed25519.PublicKey
	private ed25519.PrivateKey
	number  string // 8 bytes
}

var (
	trustedSignify  = sync.OnceValue(func() *signify { return newSignify("12345678") })
	strangerSignify = sync.OnceValue(func() *signify { return newSignify("87654321") })
)

func newSignify(number string) *signify {
	public, private, err := ed25519.GenerateKey(nil)
	must(err)
	return &signify{public, private, number}
}

// key returns the public key as its file has it.
func (s *signify) key() string {
	return "untrusted comment: signify public key\n" + base64.StdEncoding.EncodeToString([]byte("Ed"+s.number+string(s.public))) + "\n"
}

// signed returns a signature of data as signify makes it.
func (s *signify) signed(data []byte) []byte {
	signature := "Ed" + s.number + string(ed25519.Sign(s.private, data))
	return []byte("untrusted comment: verify with signify.pub\n" + base64.StdEncoding.EncodeToString([]byte(signature)) + "\n")
}

// minisigned returns a signature of data as minisign makes it, not hashed before.
func (s *signify) minisigned(data []byte) []byte {
	const comment = "timestamp:1790000000\tfile:x"
	signature := ed25519.Sign(s.private, data)
	whole := ed25519.Sign(s.private, append(bytes.Clone(signature), comment...))
	return fmt.Appendf(s.signed(data), "trusted comment: %s\n%s\n", comment, base64.StdEncoding.EncodeToString(whole))
}

// must ends the tests for what only a fault of theirs can lead to.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
