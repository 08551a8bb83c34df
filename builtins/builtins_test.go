package builtins

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"imagebuilder/builtins/build"
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
