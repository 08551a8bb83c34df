package fetch

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/problems"
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
	if strings.HasSuffix(strings.TrimSuffix(keyserver, "/"), deadKeyserver) {
		c.warn("the key server is no more: others are asked instead", "server", keyserver, "instead", strings.Join(keyservers, ", "))
	} else if keyserver != "" {
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
	return nil, fmt.Errorf("cannot look up the key %X: %w", fingerprint, problems.Join(errs...))
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

// headerless matches the first line of an armored key whose second is of the key already: an
// empty line has to be there, but some have none, and others overlook it.
var headerless = regexp.MustCompile(`^(-----BEGIN [A-Z ]+-----)[ \t\r]*\n([A-Za-z0-9+/=]+[ \t\r]*\n)`)

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
		block, err := armor.Decode(strings.NewReader(headerless.ReplaceAllString(one, "$1\n\n$2")))
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
	digits := strings.TrimPrefix(strings.ToLower(strings.Join(strings.Fields(text), "")), "0x")
	fingerprint, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("neither an armored key nor a fingerprint: %.60q", text)
	}
	if len(fingerprint) != 20 && len(fingerprint) != 32 {
		return nil, fmt.Errorf("%s is not a full fingerprint of 40 or 64 digits: anybody can make a key with this id", text)
	}
	return fingerprint, nil
}

// hkpPort is where key servers listen that are named by hkp://.
const hkpPort = ":11371"

// keyserverURL turns what gpg takes for a key server into the base of its URLs.
func keyserverURL(name string) string {
	scheme, rest, ok := strings.Cut(strings.TrimSuffix(name, "/"), "://")
	switch {
	case !ok:
		return "https://" + scheme
	case scheme == "hkps":
		return "https://" + rest
	case scheme == "hkp":
		if u, err := url.Parse("http://" + rest); err == nil && u.Port() == "" {
			u.Host += hkpPort
			return u.String()
		}
		return "http://" + rest
	}
	return scheme + "://" + rest
}

// keyAge is how long a key that has been looked up is taken to be as it was: its owner may
// have changed when it expires, or have revoked it.
const keyAge = 24 * time.Hour

// lookUp asks a server by HKP (draft-gallagher-openpgp-hkp) for one key.
func (c *Client) lookUp(ctx context.Context, server string, fingerprint []byte) ([]byte, error) {
	query := url.Values{"op": {"get"}, "options": {"mr"}, "search": {"0x" + strings.ToUpper(hex.EncodeToString(fingerprint))}}
	from := server + "/pks/lookup?" + query.Encode()
	inputs := []layer.Input{{Name: "url", Value: from}}
	inputs, age, err := c.lockedInputs(inputs, from)
	if err != nil {
		return nil, err
	}
	e, _, err := c.Store.Get(ctx, layer.Base{}, layer.Origin{Name: "key", Inputs: inputs, Network: true, MaxAge: age, Summary: from}, func(dir string) error {
		answer, err := c.read(ctx, Request{URL: from, MaxSize: maxKey, NoPage: true})
		if err != nil && !errors.Is(err, ErrNotFound) && context.Cause(ctx) == nil && c.Lock == nil {
			known, kerr := c.Known(ctx, from)
			if kerr != nil {
				return err
			}
			c.warn("a key is taken to be as it was last seen", "url", from, "cause", err)
			answer, err = os.ReadFile(known.Path)
		}
		if err != nil {
			return err
		}
		key, err := keyOf(answer, fingerprint)
		if err != nil {
			return fmt.Errorf("%s: %w", server, err)
		}
		return os.WriteFile(filepath.Join(dir, "key"), key, 0o600)
	})
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(e.Data(), "key"))
	if err == nil {
		data, err = keyOf(data, fingerprint) // whatever has become of it in the store
	}
	return data, err
}

// keyOf returns the one key of a fingerprint among those that a key server has sent, armored
// or not. The fingerprint may be that of a subkey for signatures.
func keyOf(answer, fingerprint []byte) ([]byte, error) {
	blocks := [][]byte{answer}
	if bytes.Contains(answer, []byte(armorStart)) {
		var err error
		if blocks, err = dearmorEach(string(answer)); err != nil {
			return nil, err
		}
	}
	for _, block := range blocks {
		keys, err := splitKeys(block)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			if ok, err := isKey(key, fingerprint); ok || err != nil {
				return key, err
			}
		}
	}
	return nil, fmt.Errorf("it has sent another key than %X", fingerprint)
}

// publicKeyTag is the tag of the packet that a key begins with: RFC 9580, section 5.5.1.1.
const publicKeyTag = 6

// splitKeys returns the keys of a sequence of packets, one after the other.
func splitKeys(data []byte) ([][]byte, error) {
	var keys [][]byte
	packets := packet.NewOpaqueReader(bytes.NewReader(data))
	for {
		p, err := packets.Next()
		if err == io.EOF {
			return keys, nil
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read a key: %w", err)
		}
		var one bytes.Buffer
		if err := p.Serialize(&one); err != nil {
			return nil, err
		}
		switch {
		case p.Tag == publicKeyTag:
			keys = append(keys, one.Bytes())
		case len(keys) > 0:
			keys[len(keys)-1] = append(keys[len(keys)-1], one.Bytes()...)
		}
	}
}

// isKey tells whether a key, or a subkey by which it has shown that it signs, has a
// fingerprint. One that has and cannot be used, as without any name of its owner, is an error.
func isKey(data, fingerprint []byte) (bool, error) {
	first, err := packet.Read(bytes.NewReader(data))
	if err != nil {
		return false, nil
	}
	primary, ok := first.(*packet.PublicKey)
	own := ok && bytes.Equal(primary.Fingerprint, fingerprint)
	key, err := readKey(data)
	if err != nil {
		if own {
			return false, fmt.Errorf("the key %X that it has sent cannot be used: %w", fingerprint, err)
		}
		return false, nil
	}
	for _, sub := range key.Subkeys { // those of another key would lack its signature
		if sub.Sig != nil && sub.Sig.FlagsValid && sub.Sig.FlagSign && bytes.Equal(sub.PublicKey.Fingerprint, fingerprint) {
			return true, nil
		}
	}
	return own, nil
}
