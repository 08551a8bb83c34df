package main

import (
	"bytes"
	"testing"
)

// No text of a help or of an example is a request to who sets the page.
func TestManualText(t *testing.T) {
	for text, want := range map[string]string{
		"one\ntwo\n\nthree":                 "one\ntwo\n.PP\nthree\n",
		".yaml is the end\n'run' is a verb": "\\&.yaml is the end\n\\&'run' is a verb\n",
		"a \\n in prose":                    "a \\en in prose\n",
		"as in\n\n  .x -o \"\\n\"\n\n  y":   "as in\n.PP\n.RS 4\n.EX\n\\&.x \\-o \"\\en\"\n.EE\n.RE\n.PP\n.RS 4\n.EX\ny\n.EE\n.RE\n",
	} {
		var b bytes.Buffer
		pageText(&b, text)
		if b.String() != want {
			t.Errorf("%q: got %q, want %q", text, b.String(), want)
		}
	}
}
