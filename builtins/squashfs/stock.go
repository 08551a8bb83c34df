package squashfs

import "crypto/sha256"

// What is known of images made before: the blocks of content and of metadata that need not be
// compressed again.

// A stock is the blocks of images made before with the same parameters.
type stock struct {
	blocks  map[key]stocked
	damaged func(error)
}

// A stocked block is one of an image.
type stocked struct {
	made *Made
	*record
}

func newStock(o Options, params string) *stock {
	s := &stock{blocks: make(map[key]stocked), damaged: o.Damaged}
	if s.damaged == nil {
		s.damaged = func(error) {}
	}
	for _, made := range o.Known {
		index, err := made.read(params, o.BlockSize)
		if err != nil {
			s.damaged(err)
			continue
		}
		for n := range index {
			if r := &index[n]; s.blocks[r.key].made == nil {
				s.blocks[r.key] = stocked{made, r}
			}
		}
	}
	return s
}

// metadataKey is the key of a piece of metadata, which is compressed as no content is.
func metadataKey(piece []byte) key {
	h := sha256.New()
	h.Write([]byte("metadata\n"))
	h.Write(piece)
	return key(h.Sum(nil))
}

// metadata returns a piece of metadata as it is stored, and whether that is uncompressed; nil:
// there is none that can be used.
func (s *stock) metadata(k key) (data []byte, plain bool) {
	b, ok := s.blocks[k]
	if !ok {
		return nil, false
	}
	data = make([]byte, b.word&^stored)
	if err := b.made.block(b.place, data); err != nil {
		s.damaged(err)
		return nil, false
	}
	b.made.used = true
	return data, b.word&stored != 0
}
