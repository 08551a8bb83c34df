package builtins

import (
	"embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

// The reference of the words is their own comments: the files of this package come with the
// tool, and what users read of a word is what stands above it.

//go:embed *.go
var sourceFiles embed.FS

// A Doc is the documentation of a word.
type Doc struct {
	Name      string // as a recipe writes it; a method of a rootfs begins with "root."
	Signature string // the name and the parameters
	Text      string // what it does, without the signature and the example
	Example   string // what a recipe writes, with the image img and the rootfs root
}

// exampleHead is the line of a documentation behind which its example begins.
const exampleHead = "Example:"

// CutExample takes the example away that a documentation ends with.
func CutExample(doc string) (text, example string) {
	text, example, _ = strings.Cut(doc, "\n"+exampleHead+"\n")
	lines := strings.Split(strings.Trim(example, "\n"), "\n")
	indent := lines[0][:len(lines[0])-len(strings.TrimLeft(lines[0], " \t"))]
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, indent)
	}
	return strings.TrimSpace(text), strings.TrimSpace(strings.Join(lines, "\n"))
}

// Docs returns the documentation of all words, those that are written in Starlark left out.
func Docs() ([]Doc, error) {
	entries, err := sourceFiles.ReadDir(".")
	if err != nil {
		return nil, err
	}
	comments := make(map[string]string) // by the name of the function
	rows := make(map[string]string)     // the word → the function
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		source, err := sourceFiles.ReadFile(e.Name())
		if err != nil {
			return nil, err
		}
		if err := collect(e.Name(), source, comments, rows); err != nil {
			return nil, err
		}
	}
	var docs []Doc
	for word, function := range rows {
		doc, err := ParseDoc(word, comments[function])
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

// collect reads the comments of the functions of a file, and the rows of the tables of words.
func collect(name string, source []byte, comments, rows map[string]string) error {
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ParseComments)
	if err != nil {
		return err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			comments[n.Name.Name] = n.Doc.Text()
		case *ast.KeyValueExpr:
			if word, function := tableRow(n); function != "" {
				rows[word] = function
			}
		}
		return true
	})
	return nil
}

// tableRow reads a row of vocabulary or rootfsMethods.
func tableRow(kv *ast.KeyValueExpr) (word, function string) {
	key, ok := kv.Key.(*ast.BasicLit)
	if !ok {
		return "", ""
	}
	word, _ = strconv.Unquote(key.Value)
	switch v := kv.Value.(type) {
	case *ast.CompositeLit: // {do: (*Words).name}
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

// ParseDoc takes a comment that opens with the signature of a word apart.
func ParseDoc(word, comment string) (Doc, error) {
	if !strings.HasPrefix(comment, word+"(") {
		return Doc{}, fmt.Errorf("internal error: the comment of %s does not open with its signature: %.60q", word, comment)
	}
	depth, inText := 0, false
	for i, c := range []byte(comment) {
		switch {
		case c == '"':
			inText = !inText
		case inText:
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				text, example := CutExample(comment[i+1:])
				return Doc{word, strings.Join(strings.Fields(comment[:i+1]), " "), text, example}, nil
			}
		}
	}
	return Doc{}, fmt.Errorf("internal error: the signature of %s does not end", word)
}
