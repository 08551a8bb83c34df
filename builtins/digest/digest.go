// Package digest is SHA-256 as the tool uses it: the one digest that files, layers and
// images are known by. What a digest is of, and whether it can be trusted, is for others
// to say.
package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
)

// A Digest is a SHA-256.
type Digest [sha256.Size]byte

// String is the digest as 64 hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Parse reads 64 hexadecimal digits.
func Parse(text string) (d Digest, err error) {
	if sum, err := hex.DecodeString(text); err == nil && len(sum) == len(d) {
		return Digest(sum), nil
	}
	return d, fmt.Errorf("not a SHA-256 of 64 hex digits: %q", text)
}

// Sum returns the digest of bytes in memory.
func Sum(data []byte) Digest { return sha256.Sum256(data) }

// Of returns what a SHA-256 has come to.
func Of(h hash.Hash) Digest { return Digest(h.Sum(nil)) }

// Reader returns the digest of all that a reader gives, and how much that was.
func Reader(r io.Reader) (Digest, int64, error) {
	h := sha256.New()
	// The usual 32 KiB would make more of the time that of system calls.
	n, err := io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, 1<<20))
	return Of(h), n, err
}

// File returns digest and size of a file of the host.
func File(name string) (Digest, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return Digest{}, 0, err
	}
	defer f.Close()
	return Reader(f)
}
