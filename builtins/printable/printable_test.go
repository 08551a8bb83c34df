package printable_test

import (
	"testing"

	"imagebuilder/builtins/printable"
)

func TestEscapes(t *testing.T) {
	tests := []struct{ summary, in, line, text string }{
		{"plain text", `a "b" \ é …`, `a "b" \ é …`, `a "b" \ é …`},
		{"a colour", "\x1b[31mred", `\x1b[31mred`, `\x1b[31mred`},
		{"a carriage return", "a\rb", `a\rb`, `a\rb`},
		{"lines and tabs", "a\n\tb", `a\n\tb`, "a\n\tb"},
		{"not UTF-8", "caf\xe9", `caf\xe9`, `caf\xe9`},
		{"the character for what is not UTF-8", "\ufffd", "\ufffd", "\ufffd"},
		{"from right to left", "a\u202eb", `a\u202eb`, `a\u202eb`},
		{"a control of eight bits", "a\u009bb", `a\u009bb`, `a\u009bb`},
		{"nothing", "", "", ""},
	}
	for _, test := range tests {
		if line, text := printable.Line(test.in), printable.Text(test.in); line != test.line || text != test.text {
			t.Errorf("%s: %q, %q", test.summary, line, text)
		}
	}
}
