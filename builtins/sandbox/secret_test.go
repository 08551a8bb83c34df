package sandbox

import (
	"bytes"
	"strings"
	"testing"
)

// What programs write of a secret is hidden, however it is cut when it comes.
func TestMasker(t *testing.T) {
	secrets := []Secret{{"key", []byte("-----BEGIN-----\nabcdefgh\n  abcd \nno\n")}, {"token", []byte("t0ken")}}
	tests := []struct{ text, want string }{
		{"nothing of them\n", "nothing of them\n"},
		{"a t0ken\nand abcdefgh, abcd, no", "a ***\nand ***, ***, no"},
		{"t0kent0ken", "******"},
		{"progress 1\rt0ken\r", "progress 1\r***\r"},
		{strings.Repeat("x", 2*maxHeld) + "t0ken", strings.Repeat("x", 2*maxHeld) + "***"},
		{strings.Repeat("t0ken", maxHeld), strings.Repeat("***", maxHeld)},
	}
	for _, test := range tests {
		for _, piece := range []int{1, 3, 1 << 20} {
			if piece == 1 && len(test.text) > maxHeld {
				continue
			}
			var out bytes.Buffer
			m := &masker{w: &out, hidden: hiddenLines(secrets)}
			for rest := test.text; rest != ""; {
				n := min(piece, len(rest))
				if _, err := m.Write([]byte(rest[:n])); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			m.flush()
			if out.String() != test.want {
				t.Errorf("%.40q in pieces of %d: got %.60q", test.text, piece, out.String())
			}
		}
	}
}
