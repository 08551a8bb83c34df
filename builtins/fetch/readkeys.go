package fetch

import (
	"bytes"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Keys as people have them: exported by servers and programs that put signatures where they
// do not belong, or keep what nobody can verify. The library refuses such a key as a whole;
// GnuPG passes over the part.

// Tags of packets and types of signatures (RFC 9580, 5 and 5.2.1).
const (
	tagSignature = 2
	tagUserID    = 13
	tagSubkey    = 14
	tagAttribute = 17

	sigDirectKey     = 0x1f
	sigKeyRevocation = 0x20
)

// readKeys reads OpenPGP public keys. Parts of a key that are not right are left out: none can
// make a key good for more than it is without them, as revocations of it are never among them.
func readKeys(packets []byte) (openpgp.EntityList, error) {
	list, err := openpgp.ReadKeyRing(bytes.NewReader(packets))
	if err == nil {
		return list, nil
	}
	keys, serr := splitKeys(packets)
	if serr != nil {
		return nil, err
	}
	list = nil
	for _, key := range keys {
		if entity, rerr := readKey(key); rerr == nil {
			list = append(list, entity)
		}
	}
	if len(list) == 0 {
		return nil, err
	}
	return list, nil
}

// readKey is readKeys for a single one.
func readKey(packets []byte) (*openpgp.Entity, error) {
	entity, err := readEntity(packets)
	if err == nil {
		return entity, nil
	}
	raw, rerr := takeApart(packets)
	if rerr != nil {
		return nil, err
	}
	if entity, rerr = readEntity(raw.right()); rerr != nil {
		return nil, err
	}
	return entity, nil
}

func readEntity(packets []byte) (*openpgp.Entity, error) {
	return openpgp.ReadEntity(packet.NewReader(bytes.NewReader(packets)))
}

// A rawKey is a key in parts, each as it is written.
type rawKey struct {
	primary []byte // with the signatures that are about the key itself
	parts   []rawPart
}

// A rawPart is a user ID or a subkey with the signatures behind it.
type rawPart struct {
	tag        uint8
	packet     []byte
	signatures [][]byte
}

// takeApart returns the parts of a single key.
func takeApart(packets []byte) (*rawKey, error) {
	key := new(rawKey)
	r := packet.NewOpaqueReader(bytes.NewReader(packets))
	for {
		p, err := r.Next()
		if err == io.EOF {
			return key, nil
		}
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := p.Serialize(&b); err != nil {
			return nil, err
		}
		key.add(p, b.Bytes())
	}
}

func (k *rawKey) add(p *packet.OpaquePacket, text []byte) {
	switch p.Tag {
	case publicKeyTag:
		k.primary = text
	case tagUserID, tagSubkey, tagAttribute:
		k.parts = append(k.parts, rawPart{tag: p.Tag, packet: text})
	case tagSignature:
		if len(k.parts) == 0 || aboutKey(p) { // wherever that stands
			k.primary = append(k.primary, text...)
			return
		}
		last := &k.parts[len(k.parts)-1]
		last.signatures = append(last.signatures, text)
	}
}

func aboutKey(p *packet.OpaquePacket) bool {
	parsed, err := p.Parse()
	sig, ok := parsed.(*packet.Signature)
	return err == nil && ok && (sig.SigType == sigDirectKey || sig.SigType == sigKeyRevocation)
}

// right returns the key with the parts that the library takes.
func (k *rawKey) right() []byte {
	all, user := bytes.Clone(k.primary), []byte(nil)
	for _, part := range k.parts {
		base := k.primary
		if part.tag != tagUserID {
			if user == nil {
				continue // there is no key without a user
			}
			base = bytes.Join([][]byte{k.primary, user}, nil)
		}
		text := part.right(base)
		if part.tag == tagUserID && user == nil {
			user = text
		}
		all = append(all, text...)
	}
	return all
}

// right returns the part behind a key that is right, with the signatures that are; nil if
// there are none.
func (p rawPart) right(key []byte) []byte {
	if whole := bytes.Join(append([][]byte{key, p.packet}, p.signatures...), nil); isRight(whole) {
		return whole[len(key):]
	}
	text := bytes.Clone(p.packet)
	for _, sig := range p.signatures {
		if isRight(bytes.Join([][]byte{key, p.packet, sig}, nil)) {
			text = append(text, sig...)
		}
	}
	if len(text) == len(p.packet) || !isRight(append(bytes.Clone(key), text...)) {
		return nil
	}
	return text
}

func isRight(packets []byte) bool {
	_, err := readEntity(packets)
	return err == nil
}
