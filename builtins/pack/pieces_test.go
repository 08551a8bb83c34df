package pack

import (
	"bytes"
	"context"
	"math/rand"
	"testing"
	"testing/iotest"

	"imagebuilder/builtins/digest"
)

// noise is what does not compress, the same for the same seed.
func noise(seed int64, size int) []byte {
	data := make([]byte, size)
	rand.New(rand.NewSource(seed)).Read(data)
	return data
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// smallCuts are usualCuts, a 32nd of them.
var smallCuts = cuts{min: 64 << 10, max: 1 << 20, bits: 18}

func TestCutPieces(t *testing.T) {
	minPiece, maxPiece := smallCuts.min, smallCuts.max
	long := noise(1, 3<<20)
	tests := []struct {
		summary     string
		data        []byte
		min, max    int // how many pieces there are
		beside      []byte
		besideOther int // how many pieces of what is beside are others, at most
	}{
		{"nothing", nil, 0, 0, nil, 0},
		{"a byte", []byte{1}, 1, 1, nil, 0},
		{"less than a piece", long[:minPiece], 1, 1, nil, 0},
		{"the same byte for ever", make([]byte, 2*maxPiece+1), 3, 3, nil, 0},
		{"a long file", long, 5, 20, long, 0},
		{"a byte more at the beginning", long, 5, 20, join([]byte{1}, long), 2},
		{"a byte less in the middle", long, 5, 20, join(long[:1<<20], long[1<<20+1:]), 2},
		{"another end", long, 5, 20, join(long, []byte{1}), 1},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			pieces, err := cutPieces(context.Background(), bytes.NewReader(test.data), smallCuts)
			if err != nil {
				t.Fatal(err)
			}
			if len(pieces) < test.min || len(pieces) > test.max {
				t.Errorf("%d pieces, want %d to %d", len(pieces), test.min, test.max)
			}
			known := make(map[string]bool)
			at := int64(0)
			for i, p := range pieces {
				if p.at != at || p.size <= 0 || p.size > int64(maxPiece) || p.size < int64(minPiece) && i < len(pieces)-1 {
					t.Errorf("piece %d is at %d and has %d bytes; the one before ends at %d", i, p.at, p.size, at)
				}
				at += p.size
				if p.sum != digest.Sum(test.data[p.at:at]).String() {
					t.Errorf("piece %d has another digest", i)
				}
				known[p.sum] = true
			}
			if at != int64(len(test.data)) {
				t.Errorf("the pieces end at %d of %d", at, len(test.data))
			}
			beside, err := cutPieces(context.Background(), iotest.HalfReader(bytes.NewReader(test.beside)), smallCuts)
			if err != nil {
				t.Fatal(err)
			}
			other := 0
			for _, p := range beside {
				if !known[p.sum] {
					other++
				}
			}
			if other > test.besideOther {
				t.Errorf("%d pieces are others, want %d at most", other, test.besideOther)
			}
		})
	}
}
