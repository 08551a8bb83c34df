package squashfs

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

// An index may hold anything: it gives no blocks that lie outside of what it says itself.
func FuzzIndex(f *testing.F) {
	var whole bytes.Buffer
	r := Result{index: index{params: "gzip", size: 4096, records: []record{{key{1}, place{96, 100, check{1}}}, {key{2}, place{200, 4096 | stored, check{2}}}}}}
	if err := r.WriteIndex(&whole); err != nil {
		f.Fatal(err)
	}
	f.Add(whole.Bytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		sealed := append(bytes.Clone(data), make([]byte, 32)...)
		for _, text := range [][]byte{data, sealed} {
			records, err := parseIndex(text, "gzip", 4096)
			if err != nil && records != nil {
				t.Error("blocks and an error")
			}
			for _, r := range records {
				if r.word&^stored > 4096 || r.at < superblockSize {
					t.Errorf("a block of %d bytes at %d", r.word&^stored, r.at)
				}
			}
		}
	})
}

// Sums may hold anything: they give a file no block that lies outside of it.
func FuzzSums(f *testing.F) {
	t := &tree{small: chunked[piece]{}, large: chunked[file]{}}
	for range 2 {
		t.small.add(piece{size: 100})
		t.large.add(file{size: 10000})
	}
	t.looks, t.largeLooks = looks{{5, 1}, {3, 2}}, looks{{4, 3}, {4, 4}}
	c := &content{tree: t, size: 4096, sums: []pieceSum{{1}, {2}}}
	f.Add(c.remembered([][]fileBlock{{{0, key{1}}, {2, key{2}}}, nil}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		body := data[:max(len(data)-sha256.Size, 0)]
		sum := sha256.Sum256(body)
		for _, text := range [][]byte{data, append(bytes.Clone(body), sum[:]...)} {
			m, err := parseSums(text, 4096)
			if err != nil || m == nil {
				continue
			}
			m.piece(look{5, 1}, 100)
			for l, f := range m.files {
				blocks, ok := m.file(l, f.size)
				if !ok || len(blocks) > 0 && int64(blocks[len(blocks)-1].n)*4096 >= f.size {
					t.Errorf("%d blocks of a file of %d bytes", len(blocks), f.size)
				}
			}
		}
	})
}
