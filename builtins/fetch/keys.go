package fetch

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// OpenPGP keys, armored or from a key server. What is verified with them is its callers'
// business.

// keyservers are asked for keys by fingerprint unless a recipe names another.
var keyservers = []string{"https://keys.openpgp.org", "https://keyserver.ubuntu.com"}

// deadKeyserver was the default of older tools; definitions still name it.
const deadKeyserver = "pool.sks-keyservers.net"

// maxKey bounds what a key server may send.
const maxKey = 4 << 20

const (
	armorStart = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	armorEnd   = "-----END PGP PUBLIC KEY BLOCK-----"
)

// Keyring returns the OpenPGP keys as one binary keyring, as gpgv takes it. A key is
// an armored block or a full fingerprint, which is looked up at a key server and
// checked to be that of what came back; shorter key ids are refused, since anybody
// can make a key for them.
func (c *Client) Keyring(ctx context.Context, keys []string, keyserver string) ([]byte, error) {
	var ring []byte
	for _, key := range keys {
		packets, err := c.key(ctx, strings.TrimSpace(key), keyserver)
		if err != nil {
			return nil, err
		}
		ring = append(ring, packets...)
	}
	return ring, nil
}

// CheckKey finds what is wrong with a key before anything is asked of a server.
func CheckKey(key string) error {
	key = strings.TrimSpace(key)
	if strings.HasPrefix(key, armorStart) {
		_, err := dearmor(key)
		return err
	}
	_, err := parseFingerprint(key)
	return err
}

func (c *Client) key(ctx context.Context, key, keyserver string) ([]byte, error) {
	if strings.HasPrefix(key, armorStart) {
		return dearmor(key)
	}
	fingerprint, err := parseFingerprint(key)
	if err != nil {
		return nil, err
	}
	servers := keyservers
	if keyserver != "" && !strings.HasSuffix(keyserver, deadKeyserver) {
		servers = []string{keyserverURL(keyserver)}
	}
	var errs []error
	for _, server := range servers {
		packets, err := c.lookUp(ctx, server, fingerprint)
		if err == nil {
			return packets, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// dearmor returns the packets of all blocks of an armored text, one block after the other.
func dearmor(text string) ([]byte, error) {
	var all []byte
	blocks, err := dearmorEach(text)
	for _, packets := range blocks {
		all = append(all, packets...)
	}
	return all, err
}

// dearmorEach returns the packets of each block of an armored text. Several keys are often
// published as one text.
func dearmorEach(text string) ([][]byte, error) {
	var blocks [][]byte
	for i := strings.Index(text, armorStart); ; {
		if i < 0 {
			break
		}
		text = text[i:]
		end := strings.Index(text[len(armorStart):], armorStart)
		one := text
		if end >= 0 {
			end += len(armorStart)
			one = text[:end]
		}
		if !strings.Contains(one, armorEnd) {
			return nil, fmt.Errorf("cannot read an armored key: %w", io.ErrUnexpectedEOF)
		}
		block, err := armor.Decode(strings.NewReader(one))
		if err != nil {
			return nil, fmt.Errorf("cannot read an armored key: %w", err)
		}
		packets, err := io.ReadAll(block.Body)
		if err != nil {
			return nil, fmt.Errorf("cannot read an armored key: %w", err)
		}
		blocks = append(blocks, packets)
		i = end
	}
	if blocks == nil {
		return nil, fmt.Errorf("cannot read an armored key: %w", io.EOF)
	}
	return blocks, nil
}

// Armor returns a keyring as text.
func Armor(ring []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, "PGP PUBLIC KEY BLOCK", nil)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(ring); err != nil {
		return nil, err
	}
	err = w.Close()
	b.WriteByte('\n')
	return b.Bytes(), err
}

func parseFingerprint(text string) ([]byte, error) {
	digits := strings.TrimPrefix(strings.ReplaceAll(text, " ", ""), "0x")
	fingerprint, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("neither an armored key nor a fingerprint: %.60q", text)
	}
	if len(fingerprint) != 20 && len(fingerprint) != 32 {
		return nil, fmt.Errorf("%s is not a full fingerprint of 40 or 64 digits: anybody can make a key with this id", text)
	}
	return fingerprint, nil
}

// keyserverURL turns what gpg takes for a key server into the base of its URLs.
func keyserverURL(name string) string {
	if scheme, rest, ok := strings.Cut(name, "://"); ok {
		switch scheme {
		case "hkps":
			return "https://" + rest
		case "hkp":
			return "http://" + rest
		}
		return name
	}
	return "https://" + name
}

// lookUp asks a server by HKP (draft-gallagher-openpgp-hkp) for one key.
func (c *Client) lookUp(ctx context.Context, server string, fingerprint []byte) ([]byte, error) {
	query := url.Values{"op": {"get"}, "options": {"mr"}, "search": {"0x" + strings.ToUpper(hex.EncodeToString(fingerprint))}}
	armored, err := c.Read(ctx, strings.TrimSuffix(server, "/")+"/pks/lookup?"+query.Encode(), maxKey)
	if err != nil {
		return nil, err
	}
	blocks, err := dearmorEach(string(armored))
	if err != nil {
		return nil, err
	}
	for _, packets := range blocks {
		first, err := packet.Read(bytes.NewReader(packets))
		if err != nil {
			return nil, fmt.Errorf("cannot read the key from %s: %w", server, err)
		}
		if key, ok := first.(*packet.PublicKey); ok && bytes.Equal(key.Fingerprint, fingerprint) {
			return packets, nil
		}
	}
	return nil, fmt.Errorf("%s has sent another key than %x", server, fingerprint)
}
