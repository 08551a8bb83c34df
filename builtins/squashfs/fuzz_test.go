package squashfs

import (
	"bufio"
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

// Whatever a program writes, no more blocks are taken than were asked for, and none that says
// another length.
func FuzzCut(f *testing.F) {
	block := bytes.Repeat([]byte("block"), 200)
	f.Add([]byte(streamHeader), 1000, 1)
	for _, lengths := range [][]int{{1000}, {500, 500}} {
		var out bytes.Buffer
		x := xz{level: 1}
		if err := x.command(x.args(minBlock, lengths), bytes.NewReader(block), &out).Run(f.Context()); err != nil {
			f.Skipf("no seeds: %v", err)
		}
		f.Add(out.Bytes(), lengths[0], len(lengths))
	}
	f.Fuzz(func(t *testing.T, data []byte, length, count int) {
		if length < 1 || length > 1<<20 || count < 0 || count > 10 {
			return
		}
		b := batch{lengths: make([]int, count), take: func(i int, block []byte) error {
			if len(block) >= length {
				t.Errorf("a block of %d bytes became %d", length, len(block))
			}
			return nil
		}}
		for i := range b.lengths {
			b.lengths[i] = length
		}
		cut(bufio.NewReaderSize(bytes.NewReader(data), 64<<10), b)
	})
}
