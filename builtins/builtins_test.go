package builtins

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"imagebuilder/builtins/build"
)

// The comment of each function that carries a builtin is what users read of it: it
// opens with the signature as a recipe writes it.
func TestBuiltinsAreDocumented(t *testing.T) {
	docs, err := Docs()
	if err != nil {
		t.Fatal(err)
	}
	words := make(map[string]bool)
	for _, d := range docs {
		if words[d.Name] = true; d.Text == "" || !strings.HasSuffix(d.Text, ".") {
			t.Errorf("%s does %q", d.Signature, d.Text)
		}
	}
	for word := range vocabulary {
		if !words[word] {
			t.Errorf("%s is not documented", word)
		}
	}
	for method := range rootfsMethods {
		if !words["root."+method] {
			t.Errorf("root.%s is not documented", method)
		}
	}
}

// Every field of a value is documented, and no other.
func TestFieldsAreDocumented(t *testing.T) {
	for _, typeName := range []string{"rootfs", "file", "image", "link", "oci_image", "trust", "checksums"} {
		var names []string
		for _, name := range Attributes(typeName) {
			if _, method := rootfsMethods[name]; typeName != "rootfs" || !method {
				names = append(names, name)
			}
		}
		if documented := slices.Sorted(maps.Keys(fields[typeName])); !slices.Equal(names, documented) {
			t.Errorf("%s has %v, and documented are %v", typeName, names, documented)
		}
	}
	for _, d := range Fields() {
		if !strings.HasSuffix(d.Text, ".") {
			t.Errorf("%s is %q", d.Name, d.Text)
		}
	}
}

func TestParseDoc(t *testing.T) {
	for comment, want := range map[string]Doc{
		"word() does it.": {"word", "word()", "does it.", ""},
		"word(a=\"(\", *b,\n  c={}) returns c\nor d.\n\nAnd (e).": {"word", `word(a="(", *b, c={})`, "returns c\nor d.\n\nAnd (e).", ""},
		"word(a=(1, 2)) x": {"word", "word(a=(1, 2))", "x", ""},
		"word() x.\n\nExample:\n\n\tif a:\n\t    word()\n": {"word", "word()", "x.", "if a:\n    word()"},
		"other() x": {},
		"word(a x":  {},
	} {
		got, err := ParseDoc("word", comment)
		if got != want || (err != nil) != (want == Doc{}) {
			t.Errorf("%q: got %+v, %v", comment, got, err)
		}
	}
}

// A word is a function and its row; that is all there is to one.
func TestNewWord(t *testing.T) {
	noop := func(b *Words, thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		return starlark.None, b.Worker.Act(Context(thread), b.newStep(thread, fn, nil), build.Act{})
	}
	planner := new(build.Planner)
	words := &Words{Worker: planner}
	thread := new(starlark.Thread)
	SetContext(thread, context.Background())
	globals, err := starlark.ExecFileOptions(&syntax.FileOptions{}, thread, "x.star", "def main():\n    noop()\n",
		words.predeclared(map[string]builtin{"noop": {do: noop}}))
	if err == nil {
		err = words.Run(thread, globals["main"])
	}
	if err != nil || len(planner.Steps) != 1 || planner.Steps[0].Builtin != "noop" || planner.Steps[0].At != "x.star:2:9" {
		t.Errorf("%+v, %v", planner.Steps, err)
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
		{"freshness", new(freshness), starlark.String("hourly"), `got "hourly", want "daily", "never" or a list of URLs`},
		{"no URL", new(freshness), starlark.NewList([]starlark.Value{starlark.String("x")}), `not an http or https URL: "x"`},
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
