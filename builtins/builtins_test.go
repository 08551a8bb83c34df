package builtins

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.starlark.net/starlark"
)

// The comment of each function that carries a builtin is what users read of it: it
// opens with the signature as a recipe writes it.
func TestBuiltinsAreDocumented(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	docs := make(map[string]string)
	words := make(map[string]string) // the beginning of a signature → the function
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				docs[n.Name.Name] = n.Doc.Text()
			case *ast.KeyValueExpr:
				if word, fn := tableRow(n); fn != "" {
					words[word] = fn
				}
			}
			return true
		})
	}
	if len(words) < len(vocabulary)+len(rootfsMethods) {
		t.Fatalf("the test has found %d words, there are more", len(words))
	}
	for word, fn := range words {
		if !strings.HasPrefix(docs[fn], word+"(") {
			t.Errorf("the comment of %s does not open with %q: %.60q", fn, word+"(", docs[fn])
		}
	}
}

// tableRow reads a row of vocabulary or rootfsMethods.
func tableRow(kv *ast.KeyValueExpr) (word, fn string) {
	key, ok := kv.Key.(*ast.BasicLit)
	if !ok {
		return "", ""
	}
	word, _ = strconv.Unquote(key.Value)
	switch v := kv.Value.(type) {
	case *ast.CompositeLit: // {do: (*Build).name}
		for _, elt := range v.Elts {
			if field, ok := elt.(*ast.KeyValueExpr); ok {
				if sel, ok := field.Value.(*ast.SelectorExpr); ok {
					return word, sel.Sel.Name
				}
			}
		}
	case *ast.CallExpr: // starlark.NewBuiltin("name", rootfsName)
		if len(v.Args) == 2 {
			if ident, ok := v.Args[1].(*ast.Ident); ok {
				return "root." + word, ident.Name
			}
		}
	}
	return "", ""
}

func TestParseExpiry(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		err  bool
	}{
		{"30d", 720 * time.Hour, false},
		{"1h30m10s", 5410 * time.Second, false},
		{" 1w 2d ", 216 * time.Hour, false},
		{"0s", 0, false},
		{"", 0, true},
		{"5", 0, true},
		{"1D", 0, true},
		{"1d,2d", 0, true},
		{"1.5h", 0, true},
		{"99999999999d", 0, true},
		{"20000w", 0, true},
		{"15000w 15000w", 0, true},
		{"9223372036s", 9223372036 * time.Second, false},
	}
	for _, test := range tests {
		got, err := ParseExpiry(test.text)
		if got != test.want && err == nil || (err != nil) != test.err {
			t.Errorf("%q: %v, %v", test.text, got, err)
		}
	}
}

func FuzzParseExpiry(f *testing.F) {
	f.Add("1w 2d3h")
	f.Add("20000w")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseExpiry(text); err == nil && d < 0 {
			t.Errorf("%q is %v", text, d)
		}
	})
}

func TestImage(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	base := Image{Distribution: "debian", Release: "trixie", Variant: "default", Mapped: "amd64"}
	tests := []struct {
		summary           string
		change            func(*Image)
		name, description string
		err               string
	}{{
		summary:     "the defaults",
		change:      func(*Image) {},
		name:        "debian-trixie-amd64-default-20260304_0506",
		description: "Debian trixie amd64 (20260304_0506)",
	}, {
		summary:     "another variant",
		change:      func(i *Image) { i.Variant = "cloud" },
		name:        "debian-trixie-amd64-cloud-20260304_0506",
		description: "Debian trixie amd64 (cloud) (20260304_0506)",
	}, {
		summary:     "no release",
		change:      func(i *Image) { i.Release, i.Serial = "", "1" },
		name:        "debian--amd64-default-1",
		description: "Debian  amd64 (1)",
	}, {
		summary: "templates, one in the other",
		change: func(i *Image) {
			i.Name, i.Description = "{{ image.distribution }}-{{ source.suite }}", "{{ image.name|capfirst }} {{ nope }}"
			i.Context = map[string]any{"source": map[string]any{"suite": "x"}}
		},
		name:        "debian-x",
		description: "debian-x ", // the filter sees the template
	}, {
		summary: "a broken template",
		change:  func(i *Image) { i.Description = "{% nope %}" },
		err:     "the description of the image: line 1 of the template: Tag 'nope' not found (or beginning tag not provided)",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			img := base
			test.change(&img)
			at, err := img.at(now)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || at.Name != test.name || at.Description != test.description {
				t.Errorf("%q, %q, %v", at.Name, at.Description, err)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	list := starlark.NewList([]starlark.Value{starlark.String("a"), starlark.MakeInt(1)})
	tests := []struct {
		summary string
		into    starlark.Unpacker
		value   starlark.Value
		err     string
	}{
		{"a list of strings", new(stringList), starlark.Tuple{starlark.String("a")}, ""},
		{"a list with a number", new(stringList), list, "element 1 is a int, not a string"},
		{"a string is no list", new(stringList), starlark.String("a"), "got string, want a list of strings"},
		{"a mode", new(fileMode), starlark.MakeInt(0o644), ""},
		{"an octal text", new(fileMode), starlark.String("0644"), ""},
		{"a decimal text", new(fileMode), starlark.String("0o644"), `"0o644" is not an octal mode such as "0644"`},
		{"too many bits", new(fileMode), starlark.MakeInt(0o10000), "4096 is not a mode: it has more than twelve bits"},
		{"a negative mode", new(fileMode), starlark.MakeInt(-1), "-1 is not a mode: it has more than twelve bits"},
		{"an empty command", new(programs), starlark.NewList(nil), "the command is empty"},
		{"a list of commands", new(programs), starlark.NewList([]starlark.Value{list}), "element 0: element 1 is a int, not a string"},
		{"freshness", new(Freshness), starlark.String("hourly"), `got "hourly", want "daily", "never" or a list of URLs`},
		{"no URL", new(Freshness), starlark.NewList([]starlark.Value{starlark.String("x")}), `not an http or https URL: "x"`},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			err := test.into.Unpack(test.value)
			if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
				t.Errorf("got %v, want %s", err, test.err)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	names := []string{"release", "variant", "mirror"}
	for name, want := range map[string]string{"relase": "release", "varient": "variant", "xyz": "", "mirror": "mirror"} {
		if got := Nearest(name, names); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
