package catalog_test

import (
	"strings"
	"testing"

	"imagebuilder/streams/catalog"
)

// FuzzLocation holds that a path which is taken apart is put together the same, and that it
// leads to a product or a version below a stream and nowhere else.
func FuzzLocation(f *testing.F) {
	for _, dir := range []string{
		"images/a/b/c/d", "images/a/b/c/d/20240101_00:00", "images", "", "../a/b/c/d", "images/a/b/c/..", "images/a/b/c/d/..",
		"/images/a/b/c/d", "images/a/b/c/d/", "images//b/c/d", "streams/v1/a/b/c", "images/a/b/c/d/e/f", "images/a/b/c/-d", "images/a:b/c/d/e",
	} {
		f.Add(dir)
	}
	f.Fuzz(func(t *testing.T, dir string) {
		place, err := catalog.ParseLocation(dir)
		if err != nil {
			return
		}
		if place.Path() != dir {
			t.Fatalf("%q is taken for %q", dir, place.Path())
		}
		for part := range strings.SplitSeq(dir, "/") {
			if part == "" || part == "." || part == ".." {
				t.Fatalf("%q", dir)
			}
		}
		if n := strings.Count(dir, "/"); place.Version == "" && n != 4 || place.Version != "" && n != 5 || place.Stream == "streams" {
			t.Fatalf("%q is %+v", dir, place)
		}
	})
}
