package provenance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/signerverifier"

	"imagebuilder/builtins/dirfd"
)

// Signatures and their keys.

// PayloadType is what an envelope says that it holds.
const PayloadType = "application/vnd.in-toto+json"

// A Key signs, if it is a private one, and verifies.
type Key struct{ key dsse.SignerVerifier }

// ParseKey reads a key in PEM form, as openssl writes them: Ed25519 or ECDSA, private or public.
func ParseKey(text []byte) (Key, error) {
	key, err := signerverifier.LoadKey(text)
	if errors.Is(err, signerverifier.ErrNoPEMBlock) {
		return Key{}, errors.New("it is not in PEM form")
	} else if err != nil {
		return Key{}, err
	}
	var k dsse.SignerVerifier
	switch key.KeyType {
	case signerverifier.ED25519KeyType:
		k, err = signerverifier.NewED25519SignerVerifierFromSSLibKey(key)
	case signerverifier.ECDSAKeyType:
		k, err = signerverifier.NewECDSASignerVerifierFromSSLibKey(key)
	default:
		return Key{}, fmt.Errorf("it is a key for %s, want Ed25519 or ECDSA", key.KeyType)
	}
	return Key{k}, err
}

// ParsePrivateKey is ParseKey for a key that can sign.
func ParsePrivateKey(text []byte) (Key, error) {
	k, err := ParseKey(text)
	if err == nil {
		if _, err = k.key.Sign(context.Background(), nil); errors.Is(err, signerverifier.ErrNotPrivateKey) {
			err = errors.New("it is a public key: to sign takes the private one")
		}
	}
	return k, err
}

// ID names a key; the private and the public one have the same.
func (k Key) ID() string {
	id, _ := k.key.KeyID() // which has been computed
	return id
}

// Sign returns the envelope of a statement.
func Sign(ctx context.Context, statement []byte, k Key) ([]byte, error) {
	signer, err := dsse.NewEnvelopeSigner(k.key)
	if err != nil {
		return nil, err
	}
	envelope, err := signer.SignPayload(ctx, PayloadType, statement)
	if err != nil {
		return nil, err
	}
	return json.Marshal(envelope)
}

// Open returns what an envelope says if the key has signed it.
func Open(ctx context.Context, envelope []byte, k Key) (Build, error) {
	var e dsse.Envelope
	if err := json.Unmarshal(envelope, &e); err != nil {
		return Build{}, fmt.Errorf("it is not a signed provenance: %w", err)
	}
	if e.PayloadType != PayloadType {
		return Build{}, fmt.Errorf("it is not a signed provenance: its content is of type %q, not %s", e.PayloadType, PayloadType)
	}
	verifier, err := dsse.NewEnvelopeVerifier(k.key)
	if err != nil {
		return Build{}, err
	}
	_, statement, err := verifier.VerifyAndDecode(ctx, &e)
	if err != nil {
		return Build{}, unsigned(e, k)
	}
	return parse(statement)
}

// unsigned says why a key does not vouch for an envelope.
func unsigned(e dsse.Envelope, k Key) error {
	if len(e.Signatures) == 0 {
		return errors.New("nobody has signed it")
	}
	for _, s := range e.Signatures {
		if s.KeyID == "" || s.KeyID == k.ID() {
			return errors.New("it was changed after it was signed, or another key has signed it")
		}
	}
	return fmt.Errorf("another key has signed it: %s, not %s", e.Signatures[0].KeyID, k.ID())
}

// Name is the name of a file with the envelope, beside the images that it is about.
const Name = "provenance.intoto.jsonl"

// Write writes the envelope of what is said of the images in a directory there, and returns
// the path of the file, and its bytes.
func Write(ctx context.Context, dir string, said Build, k Key) (string, []byte, error) {
	name := filepath.Join(dir, Name)
	statement, err := said.Statement()
	var envelope []byte
	if err == nil {
		envelope, err = Sign(ctx, statement, k)
	}
	if err != nil {
		return "", nil, fmt.Errorf("cannot write %s: %w", name, err)
	}
	envelope = append(envelope, '\n')
	d, err := dirfd.Open(dir, dirfd.Refuse)
	if err == nil {
		err = d.Replace(Name, 0o644, func(w *bufio.Writer) error { _, err := w.Write(envelope); return err })
		err = errors.Join(err, d.Close())
	}
	if err != nil {
		return "", nil, fmt.Errorf("cannot write %s: %w", name, err)
	}
	return name, envelope, nil
}
