package runtime

import (
	"fmt"
	"slices"
	"testing"
)

func TestLint(t *testing.T) {
	for _, tt := range []struct {
		summary, text string
		want          []string // line:column name
	}{
		{"an empty file", "", nil},
		{"a load that is used", "load('x.star', 'a', b = 'c')\nd = a(b)\n", nil},
		{"loads that are not used", "load('x.star', 'a', b = 'c')\n", []string{"1:17 load", "1:21 load"}},
		{"a local variable that is not used", "def f():\n    x = 1\n    _y = 2\n    x = 3\n", []string{"2:5 unused-variable"}},
		{"a variable that a closure uses", "def f():\n    x = 1\n    return lambda: x\n", nil},
		{"a variable that only grows", "def f():\n    x = 1\n    x += 1\n", nil},
		{"a private global, and a public one", "_a = 1\nb = 2\n", []string{"1:1 unused-variable"}},
		{"a private function that calls nothing and is not called", "def _f():\n    pass\n", []string{"1:5 unused-variable"}},
		{"one of several values", "def f(p):\n    a, b = p\n    return [a for c in p]\n", nil},
		{"a parameter", "def f(p, q = 1, *args, **kwargs):\n    pass\n", nil},
		{"what follows return", "def f():\n    return 1\n    print(2)\n", []string{"3:5 unreachable"}},
		{"what follows break and continue", "def f(l):\n    for x in l:\n        if x:\n            break\n            print(1)\n        continue\n        print(2)\n", []string{"5:13 unreachable", "7:9 unreachable"}},
		{"what follows pass", "def f():\n    pass\n    return 1\n", nil},
		{"values that nobody uses", "'''Doc.'''\n1 + 2\ndef f(x):\n    'Doc.'\n    x == 1\n    'text'\n", []string{"2:1 no-effect", "5:5 no-effect", "6:5 no-effect"}},
		{"a comprehension that does something", "def f(l):\n    [print(x) for x in l]\n", nil},
		{"words of recipes", "def main():\n    install(rootfs(image('x')), [machine])\n", nil},
		{"what is no word", "def main():\n    instal(1)\n    plan(1)\n", []string{"2:5 undefined", "3:5 undefined"}},
		{"what cannot be parsed", "def main(:\n", []string{"1:11 syntax"}},
		{"a name bound twice", "a = 1\na = 2\n", []string{"2:1 syntax"}},
		{"a docstring that says all", "def f(a, b, c = 1, *d):\n    '''Do.\n\n    Args:\n      a: one,\n        more: of it\n      b, c: two\n      *d (list): rest\n\n    Returns: nothing\n    '''\n", nil},
		{"a docstring that is older", "def f(a, b):\n    '''Do.\n\n    Args:\n      a: one\n      c: three\n    '''\n", []string{"1:10 function-docstring-args", "2:5 function-docstring-args"}},
		{"a docstring without that section", "def f(a):\n    'Do.'\n", nil},
		{"a comment at the end of the line", "_a = 1 # buildifier: disable=unused-variable\n", nil},
		{"a comment before a statement", "# buildifier: disable=no-effect, unreachable\n# why\ndef f():\n    return 1\n    2\n\n1\n", []string{"7:1 no-effect"}},
		{"a comment about something else", "_a = 1 # buildifier: disable=load\n", []string{"1:1 unused-variable"}},
	} {
		found, err := Lint(t.Context(), "x.star", tt.text)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range found {
			got = append(got, fmt.Sprintf("%d:%d %s", f.Line, f.Col, f.Name))
			if f.Fix == "" {
				t.Errorf("%s: %s does not say what to do", tt.summary, f.Name)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.summary, got, tt.want)
		}
	}
}
