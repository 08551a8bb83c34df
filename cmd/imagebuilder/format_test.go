package main

import (
	"bytes"
	"testing"
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
