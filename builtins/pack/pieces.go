package pack

import (
	"context"
	"crypto/sha256"
	"io"

	"imagebuilder/builtins/digest"
)

// Pieces of a file whose cuts follow its content: a change moves no cut but those beside it,
// so that most pieces of a new version are those of the old one.

// cuts say where a file may be cut.
type cuts struct {
	min, max int // bytes in a piece but the last
	bits     int // of 2^bits bytes behind the least, one is the last of its piece
}

// usualCuts make pieces of 10 MiB on average. Smaller ones are found again more often, and
// compress worse: these make an archive of Debian 1 % larger than one stream would be, and a
// changed file costs 8 % of the time.
var usualCuts = cuts{min: 2 << 20, max: 32 << 20, bits: 23}

// A piece is a part of a file.
type piece struct {
	at, size int64
	sum      string // the SHA-256
}

// gear is what each byte adds to the hash of the 64 bytes before a place, of which the upper
// bits decide whether there is a cut. See Xia and others, "Ddelta", Performance Evaluation 79
// (2014). The numbers are those of splitmix64; others would cut elsewhere.
var gear = func() (table [256]uint64) {
	var state uint64
	for i := range table {
		state += 0x9e3779b97f4a7c15
		z := state
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		table[i] = z ^ z>>31
	}
	return table
}()

// cutter finds the ends of pieces.
type cutter struct {
	cuts
	hash uint64
	size int // of the piece so far
}

// next tells how many of the bytes belong to the piece, and whether it ends behind them.
func (c *cutter) next(data []byte) (n int, ends bool) {
	// What is too early for a cut is not looked at, but for what the hash is made of.
	if skip := c.min - 64 - c.size; skip > 0 {
		n = min(skip, len(data))
	}
	for n < len(data) {
		c.hash = c.hash<<1 + gear[data[n]]
		n++
		if size := c.size + n; size >= c.min && c.hash>>(64-c.bits) == 0 || size == c.max {
			*c = cutter{cuts: c.cuts}
			return n, true
		}
	}
	c.size += n
	return n, false
}

// cutPieces cuts all that is read.
func cutPieces(ctx context.Context, r io.Reader, where cuts) ([]piece, error) {
	var pieces []piece
	c := cutter{cuts: where}
	var p piece
	sum := sha256.New()
	end := func() {
		p.sum = digest.Of(sum).String()
		pieces = append(pieces, p)
		p = piece{at: p.at + p.size}
		sum.Reset()
	}
	buf := make([]byte, 256<<10)
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		n, err := r.Read(buf)
		for data := buf[:n]; len(data) > 0; {
			n, ends := c.next(data)
			sum.Write(data[:n])
			p.size += int64(n)
			data = data[n:]
			if ends {
				end()
			}
		}
		if err == io.EOF {
			if p.size > 0 {
				end()
			}
			return pieces, nil
		}
		if err != nil {
			return nil, err
		}
	}
}
