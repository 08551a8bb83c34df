package streams

import (
	"bufio"
	"io"
	"strings"
	"testing"
)

const pseudo = `/ D 1700000000 755 0 0
bin D 1700000000 755 0 0
bin/a R 1700000000 4755 1 2 6 0 0
bin/a x security.capability=0x0100ff
bin/a x user.text=0tva\012lue
bin/a x user.sum=0saGVsbG8=
bin/a x user.plain=plain
bin/b L bin/a
sp\ ace R 1700000000 644 0 0 1 6
link S 1700000000 777 0 0 a b
#
# START OF DATA - DO NOT MODIFY
#
hello
x`

func TestReadPseudo(t *testing.T) {
	r := bufio.NewReader(strings.NewReader(pseudo))
	list, err := readPseudo(r)
	if err != nil {
		t.Fatal(err)
	}
	if data, _ := io.ReadAll(r); string(data) != "hello\nx" {
		t.Errorf("the content is %q", data)
	}
	a := list.byName["bin/a"]
	for key, want := range map[string]string{"security.capability": "\x01\x00\xff", "user.text": "va\nlue", "user.sum": "hello", "user.plain": "plain"} {
		if got := a.PAXRecords["SCHILY.xattr."+key]; got != want {
			t.Errorf("%s is %q", key, got)
		}
	}
	if len(list.entries) != 6 || list.byName["sp ace"].Size != 1 || list.byName["link"].Linkname != "a b" || a.Mode != 0o4755 || a.Gid != 2 {
		t.Errorf("%+v", list.entries)
	}
	for summary, test := range map[string]struct{ text, err string }{
		"cut off":                       {"a R 1 644", "unexpected EOF"},
		"no fields":                     {"a R\n", "too few fields"},
		"no number":                     {"a R 1 999 0 0 0 0\n", "the fields"},
		"a type of the future":          {"a Z 1\n", `the type "Z"`},
		"a link to nothing":             {"a L b\n", `it is a link to "b"`},
		"content in another order":      {"a R 1 644 0 0 5 7\n", "the fields"},
		"an attribute of nothing":       {"a x k=v\n", "extended attribute"},
		"an attribute that is no octal": {"a D 1 755 0 0\na x k=0t\\9\n", "no octal number"},
	} {
		if _, err := readPseudo(bufio.NewReader(strings.NewReader(test.text))); err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: got %v", summary, err)
		}
	}
}

// FuzzPseudo holds that whatever unsquashfs makes of an image is understood or refused.
func FuzzPseudo(f *testing.F) {
	f.Add(pseudo)
	f.Add("a\\")
	f.Add("a x =0t\\1")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := readPseudo(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		for _, h := range list.entries {
			if h.Size < 0 {
				t.Errorf("%+v", h)
			}
		}
	})
}
