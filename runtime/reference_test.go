package runtime

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"go.starlark.net/starlark"
)

// Whoever reads the reference of a source or of a word finds out what each of its arguments
// is for.
func TestReferenceIsComplete(t *testing.T) {
	sections, err := Reference(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`[(,] (?:\*\*)?(\w+)`)
	count := 0
	for _, s := range sections {
		for _, e := range s.Entries {
			count++
			if e.Text == "" && e.File != "sources/later.star" {
				t.Errorf("%s: %s says nothing of itself", s.Title, e.Signature)
			}
			if !strings.HasPrefix(s.Title, "Sources") || e.File == "sources/later.star" {
				continue
			}
			for _, match := range name.FindAllStringSubmatch(strings.Replace(e.Signature, "(", "( ", 1), -1) {
				if !regexp.MustCompile(`(?m)^\s*(\w+, )*\**` + match[1] + `(, \*?\*?\w+)*:`).MatchString(e.Text) {
					t.Errorf("%s: %s is not explained", e.Signature, match[1])
				}
			}
		}
	}
	if count < 80 {
		t.Errorf("there are only %d entries", count)
	}
}

func TestParameters(t *testing.T) {
	r := newRecipe(context.Background(), "x.star", testConfig())
	if err := r.loadPrelude(); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"def f(): pass": "()",
		"def f(a, b = 1, *, c, d = [\"x\"]): pass":             `(a, b=1, *, c, d=["x"])`,
		"def f(a, *args, b = None, **more): pass":              "(a, *args, b=None, **more)",
		"def f(*args): pass":                                   "(*args)",
		"def f(*, a): pass":                                    "(*, a)",
		"def f(a = \"" + strings.Repeat("x", 50) + "\"): pass": "(a=…)",
	} {
		globals, err := r.loader.exec(module{r.loader.libraries["@stdlib"], "x.star"}, text)
		if err != nil {
			t.Fatal(err)
		}
		if got := parameters(globals["f"].(*starlark.Function)); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
