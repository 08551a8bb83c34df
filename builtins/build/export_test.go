package build

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/sandbox"
)

func TestMain(m *testing.M) {
	if code, ok := sandbox.Main(Tasks()...); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// Whoever owns the directory above can give any name to anything at any time: what is
// written still goes nowhere but into the directory that was made.
func TestExportIsWrittenByHandle(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: namespaces and mounts")
	}
	source, victim, out := t.TempDir(), t.TempDir(), t.TempDir()
	for i := range 300 {
		if err := os.WriteFile(filepath.Join(source, fmt.Sprint(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	store, err := layer.Open(t.TempDir(), layer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	stop, stopped, swapped := make(chan struct{}), make(chan struct{}), 0
	go func() {
		defer close(stopped)
		staged := filepath.Join(out, dirfd.TempName("rootfs"))
		for {
			select {
			case <-stop:
				return
			default:
			}
			if os.Rename(staged, filepath.Join(out, fmt.Sprint("away", swapped))) == nil && os.Symlink(victim, staged) == nil {
				swapped++
			}
		}
	}()
	fingerprint, err := Fingerprint(source).Find(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 { // whether each succeeds is up to the other
		b := &Builder{Store: store, Log: slog.New(slog.DiscardHandler), Target: out}
		act := Export(&Step{Root: NewRoot("x", "", source, fingerprint)}, "rootfs", true)
		act.Do(context.Background(), b)
		os.RemoveAll(filepath.Join(out, "rootfs"))
	}
	close(stop)
	<-stopped
	if swapped == 0 {
		t.Error("nothing was swapped: the test shows nothing")
	}
	if names, err := os.ReadDir(victim); err != nil || len(names) > 0 {
		t.Errorf("%d files were written elsewhere; %v", len(names), err)
	}
}

func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"full/etc", "full/usr", "other/x", "empty"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, text := range map[string]string{"link": "full", "dangling": "nowhere"} {
		if err := os.Symlink(text, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		summary, name string
		replace       bool
		path, err     string
	}{
		{"one that is not there", "new/below", true, "new/below", ""},
		{"an empty one", "empty", true, "empty", ""},
		{"a root file system", "full", true, "full", ""},
		{"a link to one is that", "link", true, "full", ""},
		{"anything else is not replaced", "other", true, "other", "the directory is neither empty nor a root file system; remove it first"},
		{"but added to", "other", false, "other", ""},
		{"a link to nothing", "dangling", false, "dangling", "it is a symbolic link to nothing; remove it first"},
		{"below one", "dangling/a/b", false, "dangling/a/b", dir + "/dangling is a symbolic link to nothing; remove it first"},
		{"a file", "file", false, "file", "not a directory"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			p, err := exporter{root: NewRoot("x", "", "", ""), replace: test.replace}.destination(filepath.Join(dir, test.name))
			if p.path != filepath.Join(dir, test.path) || fmt.Sprint(err) != test.err && (err != nil || test.err != "") {
				t.Errorf("got %s, %v", p.path, err)
			}
		})
	}
}
