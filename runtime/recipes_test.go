package runtime

import (
	"context"
	"strings"
	"testing"

	"imagebuilder/recipes"
)

// On whatever machine, each recipe loads, for one of the architectures that it has, and its
// first line says what it is and how it is run.
func TestRecipesLoad(t *testing.T) {
	for _, name := range recipes.Names() {
		for _, machine := range []string{"x86_64", "aarch64", "riscv64"} {
			r := loadRecipe(t, name, machine)
			if doc, _, _ := strings.Cut(r.Doc, "\n"); !strings.Contains(doc, "`imagebuilder run "+name+" ") || !strings.HasSuffix(doc, ".") {
				t.Errorf("%s: the first line of its string does not say how it is run: %q", name, doc)
			}
			for _, option := range r.Options() {
				if option.Help == "" {
					t.Errorf("%s: nothing says what the option %s is for", name, option.Name)
				}
			}
		}
	}
}

func loadRecipe(t *testing.T, name string, machine string) *Recipe {
	t.Helper()
	config := testConfig()
	config.Machine = machine
	r, err := Load(context.Background(), name, config)
	if err != nil {
		t.Fatalf("%s on %s: %s", name, machine, Explain(err))
	}
	return r
}
