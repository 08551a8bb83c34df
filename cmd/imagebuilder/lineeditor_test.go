package main

import (
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCompletion(t *testing.T) {
	complete := func(begun string) []string {
		return slices.DeleteFunc([]string{"fork", "pack_lxc", "pack_lxd", "root.read", "root.readlink"}, func(name string) bool {
			return !strings.HasPrefix(name, begun)
		})
	}
	for _, tt := range []struct {
		summary, text, added string
		choices              []string
	}{
		{"one word", "x = fo", "rk", nil},
		{"what several words share", "f(pa", "ck_lx", nil},
		{"several words", "pack_lx", "", []string{"pack_lxc", "pack_lxd"}},
		{"an attribute", "x(root.rea", "d", nil},
		{"no such word", "nix", "", nil},
		{"nothing begun", "", "    ", nil},
	} {
		added, choices := completion(tt.text, complete)
		if added != tt.added || !slices.Equal(choices, tt.choices) {
			t.Errorf("%s: got %q and %q, want %q and %q", tt.summary, added, choices, tt.added, tt.choices)
		}
	}
}

func TestHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "history")
	h := openHistory(file)
	for _, line := range []string{"one", "", "two", "two"} {
		h.Add(line)
	}
	again := openHistory(file)
	if again.Len() != 2 || again.At(0) != "two" || again.At(1) != "one" {
		t.Errorf("got %q, want the lines once, without the empty one", again.lines)
	}
	nowhere := openHistory("/proc/none/history")
	nowhere.Add("kept for the session")
	if nowhere.Len() != 1 {
		t.Error("a history without a file keeps nothing")
	}
}

func TestKeysGiveALineUp(t *testing.T) {
	k := &keys{in: strings.NewReader("ab\x03c")}
	got, err := io.ReadAll(k)
	if err != nil || string(got) != "ab"+emptyLine+"c" || !k.interrupted {
		t.Errorf("got %q, %v, %v", got, k.interrupted, err)
	}
}

func TestLinesAreEdited(t *testing.T) {
	typed := "lo\toad\x7f\x7f\x7f\r" + // completed, and too much of it taken back
		"giv\x03" + "next\r" + "\x1b[A\r" + "\x04"
	var out strings.Builder
	e := newLineEditor(-1, strings.NewReader(typed), &out, openHistory(""), func(string) []string { return []string{"local"} })
	for _, want := range []struct {
		line string
		err  error
	}{{"local", nil}, {"", errInterrupted}, {"next", nil}, {"next", nil}, {"", io.EOF}} {
		if line, err := e.edit(">>> "); line != want.line || err != want.err {
			t.Errorf("got %q, %v, want %q, %v", line, err, want.line, want.err)
		}
	}
	if !strings.Contains(out.String(), ">>> ") {
		t.Errorf("there is no prompt in %q", out.String())
	}
}
