package site

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"imagebuilder/builtins/host"
)

// Signatures are made where files are published, and checked where they are read; both stay
// with the key.

// A Signer makes the OpenPGP signatures of the index and the catalogs: those that stand
// beside them, and those in a second form of them, which the reference clients of
// simplestreams read. LXD and Incus look at neither; mirrors and people may.
type Signer struct {
	key    *openpgp.Entity
	config *packet.Config
}

// NewSigner returns a Signer for the first private key in a key file, armored or
// not. A nil clock is the system's.
func NewSigner(keyFile, passphrase []byte, clock host.Clock) (*Signer, error) {
	keys, err := readKeys(keyFile)
	if err != nil {
		return nil, fmt.Errorf("cannot read the signing key: %w", err)
	}
	config := new(packet.Config)
	if clock != nil {
		config.Time = clock
	}
	for _, key := range keys {
		if key.PrivateKey == nil {
			continue
		}
		if err := key.DecryptPrivateKeys(passphrase); err != nil {
			return nil, fmt.Errorf("cannot unlock the signing key: %w", err)
		}
		return &Signer{key, config}, nil
	}
	return nil, errors.New("the signing key file has no private key in it")
}

func readKeys(data []byte) (openpgp.EntityList, error) {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("-----BEGIN")) {
		return openpgp.ReadArmoredKeyRing(bytes.NewReader(data))
	}
	return openpgp.ReadKeyRing(bytes.NewReader(data))
}

// Fingerprint returns the key's fingerprint in hexadecimal.
func (s *Signer) Fingerprint() string { return fmt.Sprintf("%X", s.key.PrimaryKey.Fingerprint) }

// sign writes the signature of what r holds.
func (s *Signer) sign(w io.Writer, r io.Reader) error {
	if err := openpgp.ArmoredDetachSign(w, s.key, r, s.config); err != nil {
		return fmt.Errorf("cannot sign: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// Verify checks the signature beside a file.
func (s *Signer) Verify(files *Files, name string) error {
	f, err := files.OpenRegular(name)
	if err != nil {
		return err
	}
	defer f.Close()
	signature, err := files.ReadSmall(name + SignatureSuffix)
	if err != nil {
		return err
	}
	_, err = openpgp.CheckArmoredDetachedSignature(openpgp.EntityList{s.key}, bufio.NewReader(f), bytes.NewReader(signature), s.config)
	return err
}

// SignedName returns the name of the form of a file that has its signature in it.
func SignedName(name string) string { return strings.TrimSuffix(name, ".json") + ".sjson" }

// signInline writes a text with its signature in it.
func (s *Signer) signInline(w io.Writer, text []byte) error {
	key, ok := s.key.SigningKey(s.config.Now())
	if !ok {
		return errors.New("cannot sign: the key is not one for signing, or has expired")
	}
	plain, err := clearsign.Encode(w, key.PrivateKey, s.config)
	if err != nil {
		return fmt.Errorf("cannot sign: %w", err)
	}
	if _, err := plain.Write(text); err != nil {
		return err
	}
	if err := plain.Close(); err != nil {
		return fmt.Errorf("cannot sign: %w", err)
	}
	_, err = io.WriteString(w, "\n")
	return err
}

// ReadSigned returns the text of a file that has its signature in it, which is checked.
func (s *Signer) ReadSigned(files *Files, name string) ([]byte, error) {
	data, err := files.ReadFile(name, maxState)
	if err != nil {
		return nil, err
	}
	block, rest := clearsign.Decode(data)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("it is not a text with its signature")
	}
	if _, err := block.VerifySignature(openpgp.EntityList{s.key}, s.config); err != nil {
		return nil, err
	}
	return block.Plaintext, nil
}
