package unpack

import (
	"bytes"
	"math/rand"
	"os"
	"os/exec"
	"path"
	"testing"

	"imagebuilder/builtins/magic"
)

// What a look sees is what the program unpacks.
func TestPeek(t *testing.T) {
	random := make([]byte, magic.DeepLength/2)
	rand.New(rand.NewSource(1)).Read(random)
	contents := map[string][]byte{
		"nothing":                {},
		"little":                 []byte("text"),
		"what can be compressed": bytes.Repeat([]byte("all the same "), magic.DeepLength),
		"some of both":           append(random, make([]byte, 4*magic.DeepLength)...),
	}
	for _, test := range []struct {
		kind    magic.Kind
		options []string
	}{
		{magic.Gzip, nil}, {magic.Bzip2, nil}, {magic.XZ, nil}, {magic.LZMA, nil}, {magic.Zstd, nil},
		{magic.Lzip, nil}, {magic.Lzip, []string{"-9"}}, {magic.Lzip, []string{"-s", "5MiB"}},
		{magic.Lzop, nil}, {magic.Lzop, []string{"-9"}}, {magic.Lzop, []string{"--no-checksum"}}, {magic.Lzop, []string{"--crc32"}},
		{magic.LZ4, nil}, {magic.LZ4, []string{"-9", "-B4"}},
	} {
		for summary, plain := range contents {
			program := flags[test.kind].program
			need(t, program)
			cmd := exec.Command(program, append(test.options, "-c")...)
			cmd.Stdin = bytes.NewReader(plain)
			packed, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			if kind := magic.Of(packed); kind != test.kind {
				t.Errorf("%s of %s: it is taken for %q", test.kind, summary, kind)
			}
			head, err := peek(test.kind, bytes.NewReader(packed))
			if want := plain[:min(len(plain), magic.DeepLength)]; err != nil || !bytes.Equal(head, want) {
				t.Errorf("%s %v of %s: %d bytes, not the %d that it holds; %v", test.kind, test.options, summary, len(head), len(want), err)
			}
		}
	}
}

func FuzzDetect(f *testing.F) {
	f.Add([]byte("hsqs"))
	f.Add(append(make([]byte, 257), "ustar"...))
	f.Add([]byte("\xfd7zXZ\x00\x00\x04"))
	for _, name := range []string{"text.lz", "text.lzo", "text.lz4"} {
		data, err := os.ReadFile(path.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		format, err := detect(head, bytes.NewReader(head))
		if err == nil && format.Archive() && len(format.Programs(Options{})) == 0 {
			t.Errorf("%q has no program", format)
		}
	})
}
