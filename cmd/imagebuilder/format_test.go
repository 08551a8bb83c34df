package main

import (
	"bytes"
	"os"
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
