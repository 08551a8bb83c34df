package layer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/sandbox"
)

// fill makes a layer of directories with files.
func fill(dirs, files int) func(context.Context, sandbox.Stack) error {
	return func(_ context.Context, stack sandbox.Stack) error {
		for i := range dirs {
			dir := filepath.Join(stack.Upper, fmt.Sprintf("%03d", i))
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			for j := range files {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d", j)), []byte("text"), 0o644); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// change makes or finds a layer of 2 directories with 3 files each.
func change(t testing.TB, dir string, dirs, files int) (data string, out layer.Outcome) {
	t.Helper()
	s := open(t, dir, layer.Options{})
	defer s.Close()
	state := s.NewState()
	out, err := state.Change(ctx, step("fill"), fill(dirs, files))
	if err != nil {
		t.Fatal(err)
	}
	return state.Stack().Lower[0], out
}

// A layer in which anything is other than when it was stored is built anew, with the reason.
func TestADamagedLayerIsBuiltAnew(t *testing.T) {
	const other = "names, modes, owners or times of its files are others"
	tests := []struct {
		summary string
		damage  func(data, file string) error
		why     string
	}{
		{"nothing", func(string, string) error { return nil }, ""},
		{"a file less", func(_, file string) error { return os.Remove(file) }, "it holds 8 files, not 9"},
		{"a file more", func(data, _ string) error { return os.WriteFile(data+"/new", nil, 0o644) }, "it holds 10 files, not 9"},
		{"a shorter file", func(_, file string) error { return os.Truncate(file, 1) }, "it holds 21 bytes, not 24"},
		{"another name", func(_, file string) error { return os.Rename(file, file+"x") }, other},
		{"another mode", func(_, file string) error { return os.Chmod(file, 0o600) }, other},
		{"another time", func(_, file string) error { return os.Chtimes(file, time.Time{}, time.Unix(1, 0)) }, other},
		{"a link in place of a file", func(_, file string) error { return errors.Join(os.Remove(file), os.Symlink("text", file)) }, other},
		{"another byte, with the old time", func(_, file string) error {
			st, err := os.Stat(file)
			return errors.Join(err, os.WriteFile(file, []byte("tExt"), 0), os.Chtimes(file, time.Time{}, st.ModTime()))
		}, "its files have other content"},
		{"written anew as it was", func(_, file string) error {
			st, err := os.Stat(file)
			return errors.Join(err, os.WriteFile(file, []byte("text"), 0), os.Chtimes(file, time.Time{}, st.ModTime()))
		}, ""},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			dir := t.TempDir()
			data, _ := change(t, dir, 2, 3)
			passClock(t, data+"/001/002")
			if err := test.damage(data, data+"/000/001"); err != nil {
				t.Fatal(err)
			}
			_, out := change(t, dir, 2, 3)
			if out.Hit != (test.why == "") || !strings.HasPrefix(strings.TrimPrefix(out.Why, "it is damaged: "), test.why) {
				t.Errorf("hit %v, why %q", out.Hit, out.Why)
			}
			if _, out := change(t, dir, 2, 3); !out.Hit {
				t.Errorf("still not found: %s", out.Why)
			}
		})
	}
}

// A copy of a store is as good as the store. It is read once, and no more.
func TestACopiedStore(t *testing.T) {
	dir := t.TempDir()
	data, _ := change(t, dir, 2, 3)
	passClock(t, data+"/001/002")
	again := t.TempDir() + "/copy"
	if out, err := exec.Command("cp", "-a", dir, again).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	meta := filepath.Join(again, strings.TrimPrefix(filepath.Dir(data), dir), "meta.json")
	inode := func() uint64 {
		var st unix.Stat_t
		if err := unix.Stat(meta, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	first := inode()
	if _, out := change(t, again, 2, 3); !out.Hit {
		t.Errorf("not found: %s", out.Why)
	}
	second := inode()
	if _, out := change(t, again, 2, 3); !out.Hit {
		t.Errorf("not found: %s", out.Why)
	}
	if first == second || inode() != second {
		t.Error("it was not noted once that the copy is right")
	}
}

// What looking at a layer of ten thousand files costs.
func BenchmarkFind(b *testing.B) {
	dir := b.TempDir()
	change(b, dir, 100, 100)
	for b.Loop() {
		if _, out := change(b, dir, 100, 100); !out.Hit {
			b.Fatal(out.Why)
		}
	}
}
