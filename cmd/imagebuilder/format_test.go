package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"imagebuilder/runtime"
)

// Our own files show what the formatter makes of recipes.
func TestOwnFilesAreFormatted(t *testing.T) {
	files, err := starFiles([]string{"../../stdlib", "../../recipes", "../../testdata/recipes", "../../runtime/testdata"}, ".star")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, formatted, err := formatFile(name)
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(text, formatted) {
			t.Errorf("%s is not formatted: run imagebuilder fmt", name)
		}
	}
}

// So do the examples of the reference.
func TestExamplesAreFormatted(t *testing.T) {
	sections, err := runtime.Reference(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sections {
		for _, e := range s.Entries {
			formatted, err := formatText(e.Name, []byte(e.Example))
			if got := strings.TrimSpace(string(formatted)); err != nil || got != e.Example {
				t.Errorf("%s: the example is\n%s\nformatted it is\n%s %v", e.Signature, e.Example, got, err)
			}
		}
	}
}

// Our own recipes have no likely mistake, or say why what looks like one is none.
func TestOwnFilesHaveNoWarnings(t *testing.T) {
	files, err := starFiles([]string{"../../stdlib", "../../recipes", "../../testdata/recipes"}, ".star")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found, err := runtime.Lint(t.Context(), name, string(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			t.Errorf("%s:%d: %s: %s", f.File, f.Line, f.Name, f.Text)
		}
	}
}
