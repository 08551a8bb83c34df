package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// What one source is trusted for. The rule is here and nowhere else: keys that are given
// always count, https does where there are none, and what is neither is refused unless
// somebody has said that nothing is to be verified.

// A Trust is what the files of one source are verified by. The zero value trusts https.
type Trust struct {
	Keys      []string // armored OpenPGP keys, their full fingerprints, or signify and minisign keys
	Keyserver string   // where fingerprints are looked up; "": see [Client.Keyring]
	Skip      bool     // nothing is verified; counts more than keys
	Unsigned  bool     // the source publishes no signatures, so that keys are of no use
}

// Verifies tells whether there are keys that signatures must be by.
func (t Trust) Verifies() bool { return len(t.Keys) > 0 && !t.Skip && !t.Unsigned }

// Check finds what is wrong with taking something from a URL, and with the keys.
func (t Trust) Check(url string) error {
	for _, key := range t.Keys {
		if err := checkAnyKey(key); err != nil {
			return err
		}
	}
	if len(t.Keys) > 0 || t.Skip || t.Unsigned || private(url) {
		return nil
	}
	return fmt.Errorf("anybody on the way can change what comes from %s: give the keys that it is signed with, or a URL with https, or set skip_verification", url)
}

// Notice is what a user should know of taking something from a URL that Check allows; "" if
// there is nothing.
func (t Trust) Notice(url string) string {
	switch {
	case t.Skip:
		return "nothing that comes from " + url + " is verified: skip_verification is set"
	case t.Unsigned && len(t.Keys) > 0:
		return "the keys are not used: there are no signatures at " + url
	case len(t.Keys) > 0 || IsFile(url):
	case private(url):
		return "no keys are given: " + url + " is trusted since it is https"
	default:
		return "anybody on the way can change what comes from " + url + ": no signature is verified, and it is not https"
	}
	return ""
}

// CheckUnsigned finds what is wrong with taking something from a URL for which there is no
// signature.
func (t Trust) CheckUnsigned(url string) error {
	if !t.Verifies() || private(url) {
		return nil
	}
	return fmt.Errorf("keys are given, but nothing says where a signature of %s is: use a URL with https, or set skip_verification", url)
}

// private tells whether nobody between here and the source of a URL can change what comes.
func private(url string) bool { return isHTTPS(url) || IsFile(url) }

func isHTTPS(url string) bool {
	scheme, _, _ := strings.Cut(url, ":")
	return strings.EqualFold(scheme, "https")
}

// Names are the fingerprints or ids of the keys, as far as they are known without asking a
// key server. The keys must be right.
func (t Trust) Names() []string {
	var names []string
	for _, key := range t.Keys {
		switch key = strings.TrimSpace(key); {
		case strings.HasPrefix(key, armorStart):
			packets, _ := dearmor(key)
			list, _ := readKeys(packets)
			for _, e := range list {
				names = append(names, fmt.Sprintf("%X", e.PrimaryKey.Fingerprint))
			}
		case isSignifyKey(key):
			signify, _ := parseSignifyKey(key)
			names = append(names, signify.name())
		default:
			fingerprint, _ := parseFingerprint(key)
			names = append(names, fmt.Sprintf("%X", fingerprint))
		}
	}
	return names
}

// id tells sets of keys apart.
func (t Trust) id() string {
	keys := make([]string, len(t.Keys))
	for i, key := range t.Keys {
		keys[i] = strings.TrimSpace(key)
	}
	slices.Sort(keys)
	text, _ := json.Marshal(slices.Compact(keys))
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// A keySet is the keys of a trust, ready for use.
type keySet struct {
	openpgp openpgp.EntityList
	signify []signifyKey
}

// keys returns the keys of a trust, those by fingerprint from a key server.
func (c *Client) keys(ctx context.Context, t Trust) (*keySet, error) {
	id := t.id() + t.Keyserver
	c.mu.Lock()
	set := c.sets[id]
	c.mu.Unlock()
	if set != nil {
		return set, nil
	}
	set = new(keySet)
	for _, key := range t.Keys {
		if key = strings.TrimSpace(key); isSignifyKey(key) {
			signify, err := parseSignifyKey(key)
			if err != nil {
				return nil, err
			}
			set.signify = append(set.signify, signify)
			continue
		}
		packets, err := c.key(ctx, key, t.Keyserver)
		if err != nil {
			return nil, err
		}
		list, err := readKeys(packets)
		if err == nil && len(list) == 0 {
			err = errors.New("there is none")
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read an OpenPGP key: %w", err)
		}
		set.openpgp = append(set.openpgp, list...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sets == nil {
		c.sets = make(map[string]*keySet)
	}
	c.sets[id] = set
	return set, nil
}

// checkAnyKey is CheckKey for keys of every kind that signatures are verified with.
func checkAnyKey(key string) error {
	key = strings.TrimSpace(key)
	if isSignifyKey(key) {
		_, err := parseSignifyKey(key)
		return err
	}
	if err := CheckKey(key); err != nil || !strings.HasPrefix(key, armorStart) {
		return err
	}
	packets, err := dearmor(key)
	if err != nil {
		return err
	}
	list, err := readKeys(packets)
	if err == nil && len(list) == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		return fmt.Errorf("cannot read an OpenPGP key: %w", err)
	}
	return nil
}
