package tree

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"imagebuilder/builtins/dirfd"
)

// A survey counts what is below each directory, a file of two names once, and no link's target.
func TestSurvey(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"a/b/c/d/deep": 100, "a/top": 10, "z": 5, "empty": 0} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "a/top"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("z", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	root, err := dirfd.Open(dir, dirfd.InRoot)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	want := Survey{
		Files: 11, Size: 115,
		Directories: []Sized{{"/a", 110}, {"/a/b", 100}, {"/a/b/c", 100}},
		Largest:     []Sized{{"/a/b/c/d/deep", 100}, {"/a/top", 10}, {"/z", 5}},
	}
	got, err := TakeSurvey(root, 3)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
}
