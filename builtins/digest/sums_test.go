package digest_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"imagebuilder/builtins/digest"
)

var zeros, ones = strings.Repeat("0", 64), strings.Repeat("1", 64)

var sumsTests = []struct {
	summary string
	text    string
	want    string // file=first digit of the hash
}{
	{"text mode", zeros + "  a\n", "a=0"},
	{"one blank", zeros + " a\n", "a=0"},
	{"binary mode", zeros + " *a\n", "a=0"},
	{"a tab", zeros + "\ta\n", "a=0"},
	{"lines of Windows", zeros + "  a\r\n", "a=0"},
	{"no last newline", zeros + "  a", "a=0"},
	{"upper-case digits", strings.Repeat("A", 64) + "  a\n", "a=a"},
	{"the BSD form", "SHA256 (a b) = " + ones + "\n", "a b=1"},
	{"an escaped name", `\` + zeros + `  a\\b\nc` + "\n", "a\\b\nc=0"},
	{"a name below the directory", zeros + "  ./a\n" + zeros + "  b/c\n", "a=0"},
	{"later entries win", zeros + "  a\n" + ones + "  a\n", "a=1"},
	{"other lines", "# comment\n\nx  y\n" + zeros[1:] + "  short\n" + zeros + "\n", ""},
	{"a long line", zeros + "  a\n" + strings.Repeat("x", 1<<17) + "\n" + ones + "  b\n", "a=0 b=1"},
	{"nothing", "", ""},
}

func TestParseSums(t *testing.T) {
	for _, test := range sumsTests {
		t.Run(test.summary, func(t *testing.T) {
			var got []string
			sums := digest.ParseSums([]byte(test.text))
			for _, name := range slices.Sorted(maps.Keys(sums)) {
				got = append(got, name+"="+sums[name].String()[:1])
			}
			if s := strings.Join(got, " "); s != test.want {
				t.Errorf("got %q", s)
			}
		})
	}
}

func TestEditSums(t *testing.T) {
	var one digest.Digest
	one[0] = 1
	text := zeros + "  keep\n# comment\n" + ones + "  old.vcdiff\n" + ones + "  new.vcdiff"
	got := string(digest.EditSums([]byte(text), map[string]digest.Digest{"old.vcdiff": {}, "new.vcdiff": one, "more.vcdiff": one, "none.vcdiff": {}}))
	want := zeros + "  keep\n# comment\n" + one.String() + "  more.vcdiff\n" + one.String() + "  new.vcdiff\n"
	if got != want {
		t.Errorf("got\n%s", got)
	}
	again := string(digest.EditSums([]byte(got), map[string]digest.Digest{"new.vcdiff": one}))
	if again != got {
		t.Errorf("then\n%s", again)
	}
}

// FuzzSums holds that entries which are added are found again and that others stay.
func FuzzSums(f *testing.F) {
	for _, test := range sumsTests {
		f.Add([]byte(test.text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := digest.ParseSums(data)
		sum := digest.Digest{1}
		edited := digest.EditSums(data, map[string]digest.Digest{"x.vcdiff": sum})
		after := digest.ParseSums(edited)
		if after["x.vcdiff"] != sum {
			t.Fatalf("%q", edited)
		}
		removed := digest.ParseSums(digest.EditSums(edited, map[string]digest.Digest{"x.vcdiff": {}}))
		delete(before, "x.vcdiff")
		if !maps.Equal(removed, before) {
			t.Fatalf("%v\n%v", before, removed)
		}
	})
}
