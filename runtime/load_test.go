package runtime

import (
	"strings"
	"testing"
)

// Words with large tables cost nothing where no file of the recipe says them.
func TestLateWords(t *testing.T) {
	const file = "@stdlib//windows/repack.star"
	for _, test := range []struct {
		summary, text string
		loaded        bool
		err           string
	}{
		{"a recipe without the word", "def main(): pass", false, ""},
		{"one that says it", "def main(): repack_windows(1, 2)", true, ""},
		{"one that has a name like it", "def repack_windows(): pass\ndef main(): repack_windows()", false, ""},
		{"one that misspells it", "def main(): repack_window()", false, "did you mean repack_windows?"},
	} {
		r := newRecipe(t.Context(), "x.star", testConfig())
		if err := r.loadPrelude(); err != nil {
			t.Fatal(err)
		}
		_, err := r.loader.exec(module{r.loader.libraries["@recipes"], "x.star"}, test.text)
		if err = r.explain(err); (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %v", test.summary, err)
		}
		if _, loaded := r.loader.sources[file]; loaded != test.loaded {
			t.Errorf("%s: loaded: %v", test.summary, loaded)
		}
	}
}
