package fetch

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Signatures: detached ones, and messages that hold their own. Whether there has to be one,
// and by which keys, is in trust.go.

// maxSignature bounds a detached signature, maxMessage a signed message and any other file
// that is read as a whole.
const (
	maxSignature = 1 << 20
	maxMessage   = 64 << 20
)

func unknownKey(names []string) error {
	return fmt.Errorf("it is signed with the key %s, which is none of those given", strings.Join(names, ", "))
}

func wrongSignature(name string) error {
	return fmt.Errorf("it is not what was signed with the key %s: its content or the signature was changed", name)
}

// A signature is what is published beside a content, or with it, to verify that.
type signature interface {
	// kind names those who make such signatures.
	kind() string
	// known tells whether there is any key of the kind.
	known(*keySet) bool
	// check finds out whether a content, which it may read several times, is signed by one of
	// the keys, and returns the name of that.
	check(keys *keySet, content io.ReadSeeker) (signer string, err error)
}

func (s signifySignature) kind() string           { return "signify or minisign" }
func (s signifySignature) known(set *keySet) bool { return len(set.signify) > 0 }
func (s signifySignature) check(set *keySet, content io.ReadSeeker) (string, error) {
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	return s.verify(set.signify, content)
}

// pgpSignatures are OpenPGP signatures of one content, one of which must be right.
type pgpSignatures []*packet.Signature

func (s pgpSignatures) kind() string           { return "OpenPGP" }
func (s pgpSignatures) known(set *keySet) bool { return len(set.openpgp) > 0 }

func (s pgpSignatures) check(set *keySet, content io.ReadSeeker) (string, error) {
	var unknown []string
	var errs []error
	for _, sig := range s {
		name := signerName(sig)
		if sig.IssuerKeyId == nil || len(set.openpgp.KeysById(*sig.IssuerKeyId)) == 0 {
			unknown = append(unknown, name)
			continue
		}
		signer, err := checkOne(set.openpgp, sig, content)
		if err == nil {
			return signer, nil
		}
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return "", errors.Join(errs...)
	}
	if len(unknown) == 0 {
		return "", errors.New("there is no signature in it")
	}
	return "", unknownKey(unknown)
}

// checkOne checks one signature.
func checkOne(keys openpgp.EntityList, sig *packet.Signature, content io.ReadSeeker) (signer string, err error) {
	name := signerName(sig)
	if sig.Hash == crypto.SHA1 || sig.Hash == crypto.MD5 || sig.Hash == crypto.RIPEMD160 {
		return "", fmt.Errorf("the signature with the key %s is of a %s digest, which can be forged", name, sig.Hash)
	}
	var one bytes.Buffer
	if err := sig.Serialize(&one); err != nil {
		return "", fmt.Errorf("cannot read the signature with the key %s: %w", name, err)
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	_, entity, err := openpgp.VerifyDetachedSignature(signers{keys}, content, &one, nil)
	var wrong pgperrors.SignatureError
	switch {
	case err == nil:
		return fmt.Sprintf("%X", entity.PrimaryKey.Fingerprint), nil
	case errors.Is(err, pgperrors.ErrKeyExpired):
		return "", fmt.Errorf("the key %s that it is signed with has expired: give it as its owner has published it since", name)
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return "", fmt.Errorf("the key %s that it is signed with was revoked by its owner", name)
	case errors.Is(err, pgperrors.ErrSignatureExpired):
		return "", fmt.Errorf("the signature with the key %s has expired", name)
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return "", fmt.Errorf("the key %s that it is signed with is not for signatures", name)
	case errors.As(err, &wrong):
		return "", wrongSignature(name)
	}
	return "", fmt.Errorf("cannot check the signature with the key %s: %w", name, err)
}

// signers are keys of which those count for signing that do not say what they are for, as
// old ones do not.
type signers struct{ openpgp.EntityList }

func (s signers) KeysByIdUsage(id uint64, usage byte) []openpgp.Key {
	keys := s.EntityList.KeysByIdUsage(id, usage)
	for _, k := range s.EntityList.KeysById(id) {
		if k.SelfSignature != nil && !k.SelfSignature.FlagsValid {
			keys = append(keys, k)
		}
	}
	return keys
}

// signerName is the fingerprint of the key that a signature says it is by, else its id.
func signerName(sig *packet.Signature) string {
	switch {
	case len(sig.IssuerFingerprint) > 0:
		return fmt.Sprintf("%X", sig.IssuerFingerprint)
	case sig.IssuerKeyId != nil:
		return fmt.Sprintf("%016X", *sig.IssuerKeyId)
	}
	return "without a name"
}

// parseSignature reads a detached signature of any kind.
func parseSignature(text []byte) (signature, error) {
	if isSignify(text) {
		return parseSignify(text, false)
	}
	var r io.Reader = bytes.NewReader(text)
	if block, err := armor.Decode(bytes.NewReader(text)); err == nil {
		if block.Type != openpgp.SignatureType {
			return nil, fmt.Errorf("it is no signature, but a %s", block.Type)
		}
		r = block.Body
	} else if len(text) == 0 || text[0]&0x80 == 0 { // of each packet's first byte the highest bit is set
		return nil, errors.New("it is no signature of OpenPGP, signify or minisign")
	}
	return readSignatures(packet.NewReader(r))
}

// readSignatures returns the signatures that remain of a sequence of packets.
func readSignatures(packets *packet.Reader) (pgpSignatures, error) {
	var sigs pgpSignatures
	for {
		p, err := packets.Next()
		if err == io.EOF {
			return sigs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the signature: %w", err)
		}
		if sig, ok := p.(*packet.Signature); ok {
			sigs = append(sigs, sig)
		}
	}
}

// A message is a text with its signature. Nothing outside of it counts.
type message struct {
	text      []byte    // what is read
	signed    []byte    // what the signature is of: the text in another form
	signature signature // nil: it is no signed message
}

const (
	clearSignedStart = "-----BEGIN PGP SIGNED MESSAGE-----"
	messageStart     = "-----BEGIN PGP MESSAGE-----"
)

// parseMessage reads a signed message: clear-signed or signed by gpg --sign, or by signify -e.
// Anything else is a text that is not signed.
func parseMessage(data []byte) (message, error) {
	switch {
	case isSignify(data):
		sig, err := parseSignify(data, true)
		return message{sig.rest, sig.rest, sig}, err
	case hasLine(data, clearSignedStart):
		return parseClearSigned(data)
	case bytes.HasPrefix(data, []byte(messageStart)):
		block, err := armor.Decode(bytes.NewReader(data))
		if err != nil {
			return message{}, fmt.Errorf("cannot read a signed message: %w", err)
		}
		return parseSigned(block.Body)
	case len(data) > 0 && data[0]&0x80 != 0 && !utf8.Valid(data):
		return parseSigned(bytes.NewReader(data))
	}
	return message{text: data}, nil
}

func hasLine(data []byte, prefix string) bool {
	return bytes.HasPrefix(data, []byte(prefix)) || bytes.Contains(data, []byte("\n"+prefix))
}

func parseClearSigned(data []byte) (message, error) {
	block, _ := clearsign.Decode(data)
	if block == nil {
		return message{}, errors.New("cannot read a clear-signed message: it is incomplete or damaged")
	}
	sigs, err := readSignatures(packet.NewReader(block.ArmoredSignature.Body))
	return message{block.Plaintext, block.Bytes, sigs}, err
}

// parseSigned reads a message of packets: RFC 9580, section 10.3.
func parseSigned(r io.Reader) (message, error) {
	packets := packet.NewReader(r)
	var before pgpSignatures // old messages begin with them
	for {
		p, err := packets.Next()
		if err != nil {
			return message{}, fmt.Errorf("cannot read a signed message: %w", err)
		}
		switch p := p.(type) {
		case *packet.Compressed:
			if err := packets.Push(io.LimitReader(p.Body, maxMessage+maxSignature)); err != nil {
				return message{}, err
			}
		case *packet.Signature:
			before = append(before, p)
		case *packet.LiteralData:
			text, err := io.ReadAll(io.LimitReader(p.Body, maxMessage+1))
			if err == nil && len(text) > maxMessage {
				err = fmt.Errorf("it is larger than %d bytes", maxMessage)
			}
			if err != nil {
				return message{}, fmt.Errorf("cannot read a signed message: %w", err)
			}
			sigs, err := readSignatures(packets)
			return message{text, text, append(before, sigs...)}, err
		case *packet.OnePassSignature, *packet.Marker, *packet.Padding:
		default:
			return message{}, errors.New("cannot read a signed message: it is encrypted or something else")
		}
	}
}
