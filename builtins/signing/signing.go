// Package signing has keys, and envelopes that say that what is in them was signed by one:
// https://github.com/secure-systems-lab/dsse. What is signed, and whose keys are trusted, is the
// business of others.
package signing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/signerverifier"
)

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

// Sign returns the envelope of a content of a media type.
func (k Key) Sign(ctx context.Context, kind string, content []byte) ([]byte, error) {
	signer, err := dsse.NewEnvelopeSigner(k.key)
	if err != nil {
		return nil, err
	}
	envelope, err := signer.SignPayload(ctx, kind, content)
	if err != nil {
		return nil, err
	}
	return json.Marshal(envelope)
}

// Open returns the content of an envelope that holds one of the media type, if one of the keys
// has signed it.
func Open(ctx context.Context, kind string, envelope []byte, keys ...Key) ([]byte, error) {
	var e dsse.Envelope
	if err := json.Unmarshal(envelope, &e); err != nil {
		return nil, fmt.Errorf("it is no signed envelope: %w", err)
	}
	if e.PayloadType != kind {
		return nil, fmt.Errorf("it is no signed envelope of this kind: its content is of type %q, not %s", e.PayloadType, kind)
	}
	for _, k := range keys {
		verifier, err := dsse.NewEnvelopeVerifier(k.key)
		if err != nil {
			return nil, err
		}
		if _, content, err := verifier.VerifyAndDecode(ctx, &e); err == nil {
			return content, nil
		}
	}
	return nil, unsigned(e, keys)
}

// unsigned says why no key vouches for an envelope.
func unsigned(e dsse.Envelope, keys []Key) error {
	if len(e.Signatures) == 0 {
		return errors.New("nobody has signed it")
	}
	for _, s := range e.Signatures {
		if s.KeyID == "" || slices.ContainsFunc(keys, func(k Key) bool { return k.ID() == s.KeyID }) {
			return errors.New("it was changed after it was signed, or another key has signed it")
		}
	}
	var ids []string
	for _, k := range keys {
		ids = append(ids, k.ID())
	}
	return fmt.Errorf("another key has signed it: %s, not %s", e.Signatures[0].KeyID, strings.Join(ids, " or "))
}
