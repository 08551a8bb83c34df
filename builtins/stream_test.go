package builtins

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
	"testing"

	"imagebuilder/builtins/options"
	"imagebuilder/streams/words"
)

// The comments of the words on an image server say what the table of their options says:
// each option of a word is in its comment, or in that of stream_build, to which the others
// refer; and the defaults in the signatures are those of the table.
func TestStreamOptionsAreDocumented(t *testing.T) {
	docs := make(map[string]string)
	for _, name := range []string{"stream.go", "streamlist.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				word, _, _ := strings.Cut(fn.Doc.Text(), "(")
				docs[word] = strings.Join(strings.Fields(fn.Doc.Text()), " ")
			}
		}
	}
	for word, table := range map[string]optionTable{
		"stream_build": words.ForBuild(options.InRecipe), "stream_prune": words.ForPrune(options.InRecipe),
		"stream_verify": words.ForVerify(options.InRecipe), "stream_list": words.ForList(options.InRecipe),
		"stream_add": words.ForAdd(options.InRecipe),
	} {
		doc := docs[word]
		if doc == "" {
			t.Fatalf("%s has no comment", word)
		}
		all := doc
		if strings.Contains(doc, "see stream_build") {
			all += docs["stream_build"]
		}
		for _, s := range table.Settings() {
			if !regexp.MustCompile(`\b` + s.Name + `\b`).MatchString(all) {
				t.Errorf("%s: the comment does not have %s", word, s.Name)
			}
			signature, _, _ := strings.Cut(doc, ") ")
			said := regexp.MustCompile(`[ (]` + s.Name + `=(\[[^]]*\]|"[^"]*"|[^,)]+)`).FindStringSubmatch(signature)
			if s.Of == "" && said != nil && said[1] != literal(s) {
				t.Errorf("%s: the default of %s is %s, not %s", word, s.Name, literal(s), said[1])
			}
		}
	}
}

// literal is the default of an option as a recipe would write it.
func literal(s *options.Setting) string {
	switch to := s.To.(type) {
	case *string:
		return fmt.Sprintf("%q", *to)
	case *int:
		return fmt.Sprint(*to)
	case *float64:
		return fmt.Sprint(*to)
	case *bool:
		if s.Name == words.PageName {
			return "None"
		}
		return map[bool]string{true: "True", false: "False"}[*to]
	case *options.Opposite:
		return map[bool]string{true: "True", false: "False"}[!bool(*to)]
	case *[]string:
		if s.Name == "streams" && strings.Contains(s.Help, "(default images)") {
			return `["images"]`
		}
		return "[]"
	}
	if s.Name == "delta_memory" {
		return "0"
	}
	return fmt.Sprintf("%q", s.To)
}
