package fetch

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// packetsOf returns the packets of a key, each by itself: the key, the user, its signature,
// the subkey, its signature.
func packetsOf(t testing.TB, entity *openpgp.Entity) [][]byte {
	t.Helper()
	var all bytes.Buffer
	if err := entity.Serialize(&all); err != nil {
		t.Fatal(err)
	}
	var packets [][]byte
	for r := packet.NewOpaqueReader(&all); ; {
		p, err := r.Next()
		if err != nil {
			return packets
		}
		var b bytes.Buffer
		if err := p.Serialize(&b); err != nil {
			t.Fatal(err)
		}
		packets = append(packets, b.Bytes())
	}
}

func newKey(t testing.TB) *openpgp.Entity {
	t.Helper()
	key, err := openpgp.NewEntity("x", "", "x@example.org", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Parts of a key that are not right do not make it one that cannot be read, and what is
// right of it counts.
func TestReadKeys(t *testing.T) {
	key := newKey(t)
	p := packetsOf(t, key)
	if len(p) != 5 {
		t.Fatalf("the key has %d packets", len(p))
	}
	damaged := func(data []byte) []byte {
		data = bytes.Clone(data)
		data[len(data)-1] ^= 1
		return data
	}
	if err := key.RevokeKey(packet.KeyCompromised, "", nil); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := key.Revocations[0].Serialize(&b); err != nil {
		t.Fatal(err)
	}
	revocation, other := b.Bytes(), packetsOf(t, newKey(t))
	for _, test := range []struct {
		summary string
		packets [][]byte
		keys    int // how many are read
		subkeys int // of the first
		revoked bool
	}{
		{"a key", p, 1, 1, false},
		{"the user's signature once more behind the subkey", [][]byte{p[0], p[1], p[2], p[3], p[2], p[4]}, 1, 1, false},
		{"a signature that is not right before the one that is", [][]byte{p[0], p[1], damaged(p[2]), p[2], p[3], p[4]}, 1, 1, false},
		{"and one behind the subkey", [][]byte{p[0], p[1], p[2], p[3], damaged(p[4])}, 1, 0, false},
		{"no right signature of the user", [][]byte{p[0], p[1], damaged(p[2]), p[3], p[4]}, 0, 0, false},
		{"a revocation where it does not belong", [][]byte{p[0], p[1], p[2], p[3], revocation, p[4]}, 1, 1, true},
		{"another key behind one that cannot be used", append([][]byte{p[0], p[1], damaged(p[2])}, other...), 1, 1, false},
		{"a subkey of somebody else", [][]byte{p[0], p[1], p[2], other[3], other[4]}, 1, 0, false},
	} {
		list, err := readKeys(bytes.Join(test.packets, nil))
		if len(list) != test.keys || (err == nil) != (test.keys > 0) {
			t.Errorf("%s: %d keys, %v", test.summary, len(list), err)
			continue
		}
		if test.keys > 0 && (len(list[0].Subkeys) != test.subkeys || list[0].Revoked(time.Now()) != test.revoked) {
			t.Errorf("%s: %d subkeys, revoked: %v", test.summary, len(list[0].Subkeys), list[0].Revoked(time.Now()))
		}
	}
}

// The empty line between the headers of an armored key and the key may be missing.
func TestArmorWithoutEmptyLine(t *testing.T) {
	armored, err := Armor(bytes.Join(packetsOf(t, newKey(t)), nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(armored), strings.Replace(string(armored), "\n\n", "\n", 1), strings.Replace(string(armored), "\n\n", "\nComment: x\n\n", 1)} {
		if err := checkAnyKey(text); err != nil {
			t.Errorf("%v\n%.80s", err, text)
		}
	}
}

func FuzzReadKeys(f *testing.F) {
	p := packetsOf(f, newKey(f))
	f.Add(bytes.Join(p, nil))
	f.Add(bytes.Join([][]byte{p[0], p[1], p[2], p[3], p[2], p[4]}, nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := readKeys(data)
		if err == nil && len(list) == 0 {
			t.Skip() // nothing in it
		}
		for _, key := range list {
			if len(key.Identities) == 0 {
				t.Error("a key without a user")
			}
		}
	})
}
