package layer_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
	"imagebuilder/builtins/treetask"
	"imagebuilder/builtins/xattr"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
}

// edit applies a step that changes files.
func edit(t *testing.T, tr layer.State, edits ...tree.Edit) layer.Outcome {
	t.Helper()
	out, err := tr.Change(ctx, step("edit", fmt.Sprint(edits)), func(ctx context.Context, stack sandbox.Stack) error {
		_, err := treetask.Editing.Run(ctx, []sandbox.Stack{stack}, edits)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func put(name, text string) tree.Edit {
	return tree.Edit{Op: "write", Path: name, Content: []byte(text)}
}

func copyInto(dir string, stack sandbox.Stack) error {
	to, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	_, err = treetask.Copying.Run(ctx, []sandbox.Stack{stack}, treetask.Manner{}, to)
	return err
}

// list returns the regular files of a tree and their content.
func list(t *testing.T, tr layer.State) string {
	t.Helper()
	to := t.TempDir()
	if err := copyInto(to, tr.Stack()); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	files, _ := filepath.Glob(to + "/*")
	for _, f := range files {
		text, _ := os.ReadFile(f)
		fmt.Fprintf(&b, "%s=%s ", filepath.Base(f), text)
	}
	return strings.TrimSpace(b.String())
}

func TestState(t *testing.T) {
	needRoot(t)
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprint("plain=", plain), func(t *testing.T) {
			s := open(t, t.TempDir(), layer.Options{NoOverlay: plain})
			if err := s.CheckOverlay(ctx); err != nil {
				t.Fatal(err)
			}
			root := s.NewState()
			edit(t, root, put("a", "1"), put("b", "1"))
			fork := root.Fork()
			edit(t, fork, put("a", "2"), tree.Edit{Op: "remove", Path: "b"}, put("c", "2"))
			edit(t, root, put("d", "3"))
			if got := list(t, root); got != "a=1 b=1 d=3" {
				t.Errorf("the root holds %s", got)
			}
			if got := list(t, fork); got != "a=2 c=2" {
				t.Errorf("the fork holds %s", got)
			}
			dir, _, err := fork.Result(ctx, step("pack"), func(_ context.Context, stack sandbox.Stack, dir string) error {
				return copyInto(dir, stack)
			})
			if err != nil {
				t.Fatal(err)
			}
			if text, _ := os.ReadFile(dir + "/c"); string(text) != "2" {
				t.Errorf("the result holds %q", text)
			}
		})
	}
}

// A directory of a layer below is renamed at no cost or, where layers are to be the same
// everywhere, as a copy; the root file system is the same.
func TestRenamedDirectories(t *testing.T) {
	needRoot(t)
	for _, copies := range []bool{false, true} {
		s := open(t, t.TempDir(), layer.Options{Copies: copies})
		root := s.NewState()
		edit(t, root, tree.Edit{Op: "mkdir", Path: "d", SetMode: true, Mode: 0o750}, put("d/a", "1"), tree.Edit{Op: "mkdir", Path: "empty"})
		edit(t, root, tree.Edit{Op: "rename", Path: "d", To: "empty"}, tree.Edit{Op: "rename", Path: "empty", To: "e"})
		to := t.TempDir()
		if err := copyInto(to, root.Stack()); err != nil {
			t.Fatal(err)
		}
		names, _ := filepath.Glob(to + "/*")
		text, _ := os.ReadFile(to + "/e/a")
		st, err := os.Stat(to + "/e")
		if err != nil || len(names) != 1 || string(text) != "1" || st.Mode().Perm() != 0o750 {
			t.Errorf("copies=%v: %v, %q, %v, %v", copies, names, text, st, err)
		}
		layers := root.Stack().Lower
		redirect, err := xattr.Get(filepath.Join(layers[len(layers)-1], "e"), "trusted.overlay.redirect")
		if (err == nil) == copies {
			t.Errorf("copies=%v: the layer says %q, %v", copies, redirect, err)
		}
	}
}

func TestStateIsFoundAgain(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	run := func() (hits []bool) {
		s := open(t, dir, layer.Options{})
		defer s.Close()
		root := s.NewState()
		for _, name := range []string{"a", "b"} {
			hits = append(hits, edit(t, root, put(name, "1")).Hit)
		}
		if got := list(t, root); got != "a=1 b=1" {
			t.Errorf("the root holds %s", got)
		}
		return hits
	}
	if got := run(); fmt.Sprint(got) != "[false false]" {
		t.Errorf("first run: hits %v", got)
	}
	if got := run(); fmt.Sprint(got) != "[true true]" {
		t.Errorf("second run: hits %v", got)
	}
}

func TestStateOfADirectory(t *testing.T) {
	needRoot(t)
	for _, plain := range []bool{false, true} {
		source := t.TempDir()
		if err := os.WriteFile(source+"/a", []byte("1"), 0o644); err != nil {
			t.Fatal(err)
		}
		root := open(t, t.TempDir(), layer.Options{NoOverlay: plain}).StateOf(source, "digest")
		edit(t, root, put("a", "2"), put("b", "2"))
		if got := list(t, root); got != "a=2 b=2" {
			t.Errorf("plain=%v: it holds %s", plain, got)
		}
		if text, _ := os.ReadFile(source + "/a"); string(text) != "1" {
			t.Errorf("plain=%v: the directory was changed", plain)
		}
	}
}

func TestLongChain(t *testing.T) {
	needRoot(t)
	root := open(t, t.TempDir(), layer.Options{}).NewState()
	for i := range 300 {
		edit(t, root, put("count", fmt.Sprint(i)), put(fmt.Sprint("f", i%3), fmt.Sprint(i)))
	}
	if got := list(t, root); got != "count=299 f0=297 f1=298 f2=299" {
		t.Errorf("after 300 steps: %s", got)
	}
}
