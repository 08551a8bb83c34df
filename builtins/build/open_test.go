package build

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imagebuilder/builtins/digest"
)

// What is found in a file that has changed since it was looked at is not kept as that of the
// file before: everybody who has that would get it, for ever.
func TestOpenedFileChanges(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: namespaces and mounts")
	}
	file := filepath.Join(t.TempDir(), "archive")
	o, opened := opener{&Builder{Store: openStore(t, t.TempDir(), nil)}, 1 << 20}, 0
	open := func() error {
		f := &File{Name: "archive", path: file, SHA256: digest.Sum([]byte("old")).String()}
		_, err := o.inner(context.Background(), f, "inner", "as it is", func(dir string) error {
			opened++
			data, err := os.ReadFile(file)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, contentName), data, 0o600)
			}
			return err
		})
		return err
	}
	if err := os.WriteFile(file, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(); err == nil || !strings.Contains(err.Error(), "archive has changed") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(); err != nil || opened != 2 {
		t.Errorf("opened %d times: %v", opened, err)
	}
}
