package layer_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imagebuilder/builtins/layer"
)

// A cache in which others can put something is refused, and nothing in it is touched.
func TestPlace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give directories to others")
	}
	tests := []struct {
		name string
		make func(parent string) error // of parent/cache, which is not there yet
		err  string
	}{
		{"a new one", func(string) error { return nil }, ""},
		{"one of ours", func(p string) error { return os.Mkdir(p+"/cache", 0o755) }, ""},
		{"below a sticky directory", func(p string) error { return os.Chmod(p, 0o777|os.ModeSticky) }, ""},
		{"below a link", func(p string) error { return os.Symlink(t.TempDir(), p+"/cache") }, ""},
		{"of somebody else", func(p string) error {
			return errors.Join(os.Mkdir(p+"/cache", 0o755), os.Chown(p+"/cache", 1234, -1))
		}, "cache belongs to the user 1234"},
		{"below somebody else's", func(p string) error { return os.Chown(p, 1234, -1) }, "belongs to the user 1234"},
		{"writable by all", func(p string) error {
			return errors.Join(os.Mkdir(p+"/cache", 0o755), os.Chmod(p+"/cache", 0o777))
		}, "others can write to"},
		{"below one writable by a group", func(p string) error { return errors.Join(os.Chown(p, -1, 1234), os.Chmod(p, 0o775)) }, "others can write to"},
		{"below one writable by our group", func(p string) error { return os.Chmod(p, 0o775) }, ""},
		{"one that all can write to", func(p string) error {
			return errors.Join(os.MkdirAll(p+"/cache/staging", 0o755), os.Chmod(p+"/cache/staging", 0o777|os.ModeSticky))
		}, "others can write to"},
		{"a link in it", func(p string) error {
			return errors.Join(os.Mkdir(p+"/cache", 0o755), os.Symlink(p+"/precious", p+"/cache/staging"))
		}, "staging is not a directory"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			parent := filepath.Join(t.TempDir(), "parent")
			if err := os.MkdirAll(parent+"/precious/content", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := test.make(parent); err != nil {
				t.Fatal(err)
			}
			s, err := layer.Open(parent+"/cache", layer.Options{})
			if err == nil {
				s.Close()
			}
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("got %v, want %q", err, test.err)
			}
			if _, err := os.Stat(parent + "/precious/content"); err != nil {
				t.Error(err)
			}
		})
	}
}
