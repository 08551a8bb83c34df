package digest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imagebuilder/builtins/digest"
)

// abc is the example of FIPS 180-2.
const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("abc"), 0o644); err != nil {
		t.Fatal(err)
	}
	sum, size, err := digest.File(name)
	if sum.String() != abc || size != 3 || err != nil {
		t.Error(sum, size, err)
	}
	if sum != digest.Sum([]byte("abc")) {
		t.Error("a file and its bytes have different digests")
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		text string
		ok   bool
	}{
		{abc, true}, {strings.ToUpper(abc), true}, {"", false}, {abc[2:], false}, {abc + "00", false}, {"x" + abc[1:], false},
	}
	for _, test := range tests {
		d, err := digest.Parse(test.text)
		if (err == nil) != test.ok || test.ok && d.String() != abc {
			t.Errorf("%q: %v, %v", test.text, d, err)
		}
	}
}

// A stream has the digest of the whole, however it was cut into pieces.
func TestStream(t *testing.T) {
	data := make([]byte, 3<<20+1)
	for i := range data {
		data[i] = byte(i * i >> 8)
	}
	for _, piece := range []int{1000, 256 << 10, 256<<10 + 1, len(data)} {
		for _, length := range []int{0, 1, 256 << 10, len(data)} {
			s := digest.NewStream()
			for rest := data[:length]; len(rest) > 0; {
				n, err := s.Write(rest[:min(piece, len(rest))])
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if got, want := s.Sum(), digest.Sum(data[:length]); got != want {
				t.Errorf("%d bytes in pieces of %d: %s, not %s", length, piece, got, want)
			}
		}
	}
}
