package xz

import (
	"bufio"
	"bytes"
	"testing"

	"imagebuilder/builtins/host"
)

// Whatever a program writes, no more blocks are taken than were asked for, and none that says
// another length.
func FuzzSplit(f *testing.F) {
	content := bytes.Repeat([]byte("block"), 200)
	for _, check := range []Check{CRC32, CRC64} {
		f.Add(check.Header(), 1000, 1, check == CRC64)
		for _, lengths := range [][]int{{1000}, {500, 500}} {
			var out bytes.Buffer
			o := Options{Check: check, Level: 1, Max: 4096}
			if err := (host.Program{}).Command(o.args(lengths), bytes.NewReader(content), &out).Run(f.Context()); err != nil {
				f.Skipf("no seeds: %v", err)
			}
			f.Add(out.Bytes(), lengths[0], len(lengths), check == CRC64)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, length, count int, long bool) {
		if length < 1 || length > 1<<20 || count < 0 || count > 10 {
			return
		}
		check := CRC32
		if long {
			check = CRC64
		}
		lengths := make([]int, count)
		for i := range lengths {
			lengths[i] = length
		}
		taken := 0
		check.split(bufio.NewReaderSize(bytes.NewReader(data), 64<<10), lengths, func(i int, b Block) error {
			if i != taken || i >= count || b.Size != int64(length) || len(b.Data) > 2*length+2*maxHeader {
				t.Errorf("block %d of %d has %d bytes for %d, want %d", i, count, len(b.Data), b.Size, length)
			}
			taken++
			return nil
		})
	})
}
