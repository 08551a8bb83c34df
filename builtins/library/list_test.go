package library

import (
	"strings"
	"testing"
)

const sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

const good = `# Ours and others'.

# of the team next door
acme url=https://example.org/a.tar.gz sha256=` + sum + ` prefix=acme-1.2 # until 2.0 is out
lab	dir="../our lab"
both dir=../both url=http://example.org/b.tar sha256=` + sum + ` files=` + sum + `
`

func TestParse(t *testing.T) {
	for _, test := range []struct{ summary, text, want string }{
		{"a list", good, ""},
		{"an empty one", "", ""},
		{"line ends of Windows", "lab dir=../lab\r\n", ""},
		{"a key that nobody knows", "acme url=https://x/a sha512=12", `f:1: "sha512=12" is none of dir=, url=, sha256=, prefix= and files=`},
		{"a word without a key", "acme ../lab", `f:1: "../lab" is none of dir=`},
		{"a key twice", "lab dir=a dir=b", "f:1: dir= is there twice"},
		{"a name twice", "lab dir=a\n\nlab dir=b", "f:3: lab is in line 1 already"},
		{"nothing but a name", "lab", "f:1: lab has neither url= nor dir="},
		{"an empty value", "lab dir=", "f:1: dir= is empty"},
		{"no digest", "acme url=https://x/a", "f:1: acme is not pinned: it has no sha256=; 'imagebuilder mod update acme https://x/a' adds"},
		{"half of a digest", "acme url=https://x/a sha256=" + sum[:32], "f:1: acme: not a SHA-256 of 64 hex digits"},
		{"a bad digest of files", "acme url=https://x/a sha256=" + sum + " files=x", "f:1: acme: not a SHA-256 of 64 hex digits"},
		{"a digest of a folder", "lab dir=a sha256=" + sum, "f:1: lab has no url=, which sha256="},
		{"a URL that is none", "acme url=ftp://x/a sha256=" + sum, "f:1: acme: not an http or https URL"},
		{"a prefix that leads out", "acme url=https://x/a prefix=../b sha256=" + sum, "f:1: acme: prefix=../b is no directory in an archive"},
		{"a name of the tool's", "stdlib dir=a", "f:1: @stdlib comes with the tool"},
		{"a name that is a path", "../x dir=a", `f:1: "../x" is no name of a library`},
		{"a text that does not end", `lab dir="a`, "f:1: the text behind dir= does not end"},
		{"two mistakes", "lab\nacme", "f:2: acme has neither url= nor dir="},
		{"no text", "lab dir=\xff", "f is not UTF-8"},
		{"control characters", `lab dir="a\x00b"`, "f:1: lab: dir= has bytes that are no text"},
		{"more than anybody has", strings.Repeat("#\n", maxFile), "f is larger than"},
	} {
		l, err := Parse("f", []byte(test.text))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.summary, err, test.want)
		}
		if err == nil && strings.ReplaceAll(test.text, "\r", "") != string(l.Bytes()) {
			t.Errorf("%s: it is written as\n%s", test.summary, l.Bytes())
		}
	}
}

func TestFind(t *testing.T) {
	l, err := Parse("f", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	want := Pin{Name: "acme", URL: "https://example.org/a.tar.gz", SHA256: sum, Prefix: "acme-1.2"}
	if pin, ok := l.Find("acme"); !ok || pin != want {
		t.Errorf("acme is %+v", pin)
	}
	if pin, ok := l.Find("lab"); !ok || pin.Dir != "../our lab" {
		t.Errorf("lab is %+v", pin)
	}
	if _, ok := l.Find("nobody"); ok || len(l.Pins()) != 3 {
		t.Errorf("there are %d libraries", len(l.Pins()))
	}
}

// Comments stay where they are, and a new line has its place among the others.
func TestSet(t *testing.T) {
	for _, test := range []struct {
		summary, text string
		pin           Pin
		want          string
	}{
		{"the first", "", Pin{Name: "lab", Dir: "x"}, "lab dir=x\n"},
		{"behind a comment at the top", "# ours\n", Pin{Name: "lab", Dir: "x"}, "# ours\nlab dir=x\n"},
		{"between others", "a dir=x\n# of c\nc dir=x\n", Pin{Name: "b", Dir: "y"}, "a dir=x\nb dir=y\n# of c\nc dir=x\n"},
		{"at the end", "a dir=x\n", Pin{Name: "b", Dir: "y"}, "a dir=x\nb dir=y\n"},
		{"a changed one", "# of a\na dir=x  # why\nb dir=x\n", Pin{Name: "a", Dir: "with space"}, "# of a\na dir=\"with space\" # why\nb dir=x\n"},
		{"one with # in its text", `a dir="x # y" # why`, Pin{Name: "a", Dir: "z"}, "a dir=z # why\n"},
		{"one with # in a word", "a dir=x#y", Pin{Name: "a", Dir: "z#y"}, "a dir=\"z#y\"\n"},
	} {
		l, err := Parse("f", []byte(test.text))
		if err != nil {
			t.Fatal(err)
		}
		l.Set(test.pin)
		if got := string(l.Bytes()); got != test.want {
			t.Errorf("%s: got\n%swant\n%s", test.summary, got, test.want)
		}
	}
}

// What is read is written as it was, and what is set is read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good), "../x")
	f.Add([]byte(`lab dir="a\tb" # x`), `"`)
	f.Add([]byte("a dir=x\"y\"\r\n#\n"), "#")
	f.Fuzz(func(t *testing.T, data []byte, dir string) {
		l, err := Parse("f", data)
		if err != nil {
			return
		}
		again, err := Parse("f", l.Bytes())
		if err != nil || string(again.Bytes()) != string(l.Bytes()) {
			t.Fatalf("it is written as\n%s\nwhich is read as %v", l.Bytes(), err)
		}
		pins := append(l.Pins(), Pin{Name: "added", Dir: dir})
		for _, pin := range pins {
			if pin.Check() != nil {
				continue
			}
			l.Set(pin)
			if again, err = Parse("f", l.Bytes()); err != nil {
				t.Fatalf("with %+v it is\n%s\nwhich is read as %v", pin, l.Bytes(), err)
			}
			if got, ok := again.Find(pin.Name); !ok || got != pin {
				t.Fatalf("%+v is read as %+v", pin, got)
			}
		}
	})
}
