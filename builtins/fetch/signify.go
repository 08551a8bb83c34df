package fetch

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/blake2b"
)

// Ed25519 signatures as signify(1) of OpenBSD and minisign make them. The formats are in
// signify's manual and at https://jedisct1.github.io/minisign/#signature-format; the first
// knows the algorithm "Ed" only, and no second comment.

const untrustedComment = "untrusted comment:"

// maxUnhashed bounds what a signature of the kind "Ed" is checked for, as that has to be in
// memory as a whole.
const maxUnhashed = 32 << 20

// A signifyKey is a public key: "Ed", eight bytes that name it, the key.
type signifyKey struct {
	id  [8]byte
	key ed25519.PublicKey
}

// name is how minisign shows the id of a key.
func (k signifyKey) name() string { return signifyName(k.id) }

func signifyName(id [8]byte) string { return fmt.Sprintf("%016X", binary.LittleEndian.Uint64(id[:])) }

// isSignifyKey tells whether a text is a key of signify or minisign: with its comment, or
// the base64 of 42 bytes, whose first two are "Ed".
func isSignifyKey(text string) bool {
	text = strings.TrimSpace(text)
	return strings.HasPrefix(text, untrustedComment) || len(text) == 56 && strings.HasPrefix(text, "RW")
}

func parseSignifyKey(text string) (k signifyKey, err error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, untrustedComment) {
		_, text, _ = strings.Cut(text, "\n")
	}
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(data) != 2+8+ed25519.PublicKeySize || string(data[:2]) != "Ed" {
		return k, fmt.Errorf("not a public key of signify or minisign: %.60q", text)
	}
	copy(k.id[:], data[2:])
	k.key = data[10:]
	return k, nil
}

// A signifySignature is one by a key of this kind.
type signifySignature struct {
	prehashed bool // it is of the BLAKE2b-512 of the content
	id        [8]byte
	signature []byte
	comment   string // what the second signature is of as well
	global    []byte // the second signature; nil: there is none
	rest      []byte // what follows: the content of a signed message
}

func isSignify(text []byte) bool { return bytes.HasPrefix(text, []byte(untrustedComment)) }

// parseSignify reads a signature, detached or in front of a message.
func parseSignify(text []byte, message bool) (s signifySignature, err error) {
	_, rest, _ := bytes.Cut(text, []byte("\n"))
	line, rest, _ := bytes.Cut(rest, []byte("\n"))
	data, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(line)))
	if err != nil || len(data) != 2+8+ed25519.SignatureSize {
		return s, errors.New("its second line is no signature of signify or minisign")
	}
	switch string(data[:2]) {
	case "Ed":
	case "ED":
		s.prehashed = true
	default:
		return s, fmt.Errorf("it is made by an unknown algorithm: %q", data[:2])
	}
	copy(s.id[:], data[2:])
	s.signature = data[10:]
	if s.rest = rest; message {
		return s, nil
	}
	line, rest, _ = bytes.Cut(rest, []byte("\n"))
	comment, ok := strings.CutPrefix(strings.TrimSuffix(string(line), "\r"), "trusted comment: ")
	if !ok {
		if s.prehashed { // by minisign, which always has one
			return s, errors.New("its trusted comment is missing")
		}
		return s, nil
	}
	s.comment = comment
	line, _, _ = bytes.Cut(rest, []byte("\n"))
	if s.global, err = base64.StdEncoding.DecodeString(string(bytes.TrimSpace(line))); err != nil || len(s.global) != ed25519.SignatureSize {
		return s, errors.New("the signature of its trusted comment is missing")
	}
	return s, nil
}

// verify checks the signature of a content by the key among those given that it names,
// and returns the name of that key.
func (s signifySignature) verify(keys []signifyKey, content io.Reader) (signer string, err error) {
	var message []byte
	if s.prehashed {
		h, _ := blake2b.New512(nil)
		_, err = io.Copy(h, content)
		message = h.Sum(nil)
	} else {
		message, err = io.ReadAll(io.LimitReader(content, maxUnhashed+1))
		if err == nil && len(message) > maxUnhashed {
			err = fmt.Errorf("a signature that is not prehashed can be checked for at most %d bytes", maxUnhashed)
		}
	}
	if err != nil {
		return "", err
	}
	name := signifyName(s.id)
	known := false
	for _, k := range keys {
		if k.id != s.id {
			continue
		}
		known = true
		if ed25519.Verify(k.key, message, s.signature) && (s.global == nil || ed25519.Verify(k.key, append(bytes.Clone(s.signature), s.comment...), s.global)) {
			return name, nil
		}
	}
	if !known {
		return "", unknownKey([]string{name})
	}
	return "", wrongSignature(name)
}
