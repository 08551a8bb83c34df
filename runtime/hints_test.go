package runtime

import (
	"context"
	"strings"
	"testing"
)

// Who writes Python is told what Starlark has instead.
func TestHabits(t *testing.T) {
	tests := []struct{ line, want string }{
		{`x = f"{1}"`, `there are no f-strings: write "... %s" % x`},
		{`import os`, `write load("other.star", "name")`},
		{`while True: pass`, "write for ... in range(...), and break"},
		{`class X: pass`, "there are no classes"},
		{`try: pass`, "no error can be caught"},
		{`raise X`, `write fail("...")`},
		{`assert x`, `write if not ...: fail("...")`},
		{`x = y is None`, "write == for is"},
		{`if True`, "the line lacks a colon at its end"},
		{`x = 2 ** 3`, "there are no powers"},
		{`if True && True: pass`, "write and for &&"},
		{`x = !True`, "write not for !"},
		{"x = 1\n\t  y = 2", "some lines are indented by tabs, others by spaces"},
		{`x = rootfs(image("debian")).nme`, "rootfs has no .nme field or method; it has .append, .chmod, "},
		{`x = "text".size`, "string has no .size field or method\n"},
		{`x = [].apend`, "did you mean .append?"},
	}
	for _, test := range tests {
		r, err := LoadText(context.Background(), "x.star", "def main():\n    "+test.line+"\n    return 1\n", Config{Machine: "x86_64"})
		if err == nil {
			_, err = r.Check()
		}
		if err == nil || !strings.Contains(Explain(err), test.want) {
			t.Errorf("%s: %v, want %q", test.line, err, test.want)
		}
	}
}
