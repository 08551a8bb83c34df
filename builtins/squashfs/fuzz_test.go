package squashfs

import (
	"bytes"
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
