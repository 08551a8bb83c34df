package layer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

var ctx = context.Background()

func open(t *testing.T, dir string, options layer.Options) *layer.Store {
	t.Helper()
	s, err := layer.Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func step(name string, inputs ...string) layer.Step {
	st := layer.Step{Name: name}
	for i, in := range inputs {
		st.Inputs = append(st.Inputs, layer.Input{Name: fmt.Sprint("arg", i), Value: in})
	}
	return st
}

// write returns a build function that leaves one file and counts its calls.
func write(calls *atomic.Int32, text string) func(string) error {
	return func(dir string) error {
		calls.Add(1)
		return os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o644)
	}
}

func TestGet(t *testing.T) {
	dir := t.TempDir()
	var calls atomic.Int32
	get := func(options layer.Options, base layer.Base, st layer.Step) (*layer.Entry, layer.Outcome) {
		t.Helper()
		s := open(t, dir, options)
		defer s.Close()
		e, out, err := s.Get(ctx, base, st, write(&calls, "text"))
		if err != nil {
			t.Fatal(err)
		}
		return e, out
	}
	network := layer.Step{Name: "install", Network: true}
	first, _ := get(layer.Options{}, layer.Base{}, step("a"))
	tests := []struct {
		summary string
		options layer.Options
		base    layer.Base
		step    layer.Step
		built   bool
		why     string
	}{
		{"the same step is found", layer.Options{}, layer.Base{}, step("a"), false, ""},
		{"another name is another step", layer.Options{}, layer.Base{}, step("b"), true, ""},
		{"another input is another step", layer.Options{}, layer.Base{}, step("a", "x"), true, ""},
		{"another base is another step", layer.Options{}, layer.Base{Key: first.Key, ID: first.ID}, step("a"), true, ""},
		{"a base that was built anew is not the same", layer.Options{}, layer.Base{Key: first.Key, ID: "other"}, step("a"), true, "its base was built anew"},
		{"NoCache builds all", layer.Options{NoCache: true}, layer.Base{}, step("a"), true, "asked for"},
		{"Refresh leaves alone what reads no network", layer.Options{Refresh: true}, layer.Base{}, step("a"), false, ""},
		{"a step that reads the network is found, too", layer.Options{}, layer.Base{}, network, true, ""},
		{"but not with Refresh", layer.Options{Refresh: true}, layer.Base{}, network, true, "asked for"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			before := calls.Load()
			_, out := get(test.options, test.base, test.step)
			if built := calls.Load() > before; built != test.built || out.Hit == test.built {
				t.Errorf("built %v, hit %v", built, out.Hit)
			}
			if out.Why != test.why {
				t.Errorf("why %q, want %q", out.Why, test.why)
			}
		})
	}
}

func TestAFailedStepLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, layer.Options{})
	cause := errors.New("boom")
	if _, _, err := s.Get(ctx, layer.Base{}, step("a"), func(dir string) error {
		os.WriteFile(dir+"/half", nil, 0o644)
		return cause
	}); !errors.Is(err, cause) {
		t.Fatalf("got %v", err)
	}
	for _, sub := range []string{"entries", "staging", "locks"} {
		if names, _ := os.ReadDir(filepath.Join(dir, sub)); len(names) > 0 {
			t.Errorf("%s holds %v", sub, names)
		}
	}
}

func TestOneBuilderPerKey(t *testing.T) {
	dir := t.TempDir()
	var calls atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		s := open(t, dir, layer.Options{})
		group.Go(func() {
			for i := range 5 {
				e, _, err := s.Get(ctx, layer.Base{}, step("a", fmt.Sprint(i)), write(&calls, "text"))
				if err != nil {
					t.Error(err)
					return
				}
				if text, err := os.ReadFile(e.Data() + "/file"); string(text) != "text" {
					t.Errorf("read %q: %v", text, err)
				}
			}
		})
	}
	group.Wait()
	if calls.Load() != 5 {
		t.Errorf("built %d times, want 5", calls.Load())
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, layer.Options{})
	_, _, err := s.Get(ctx, layer.Base{}, step("a"), func(string) error {
		ctx, cancel := context.WithCancelCause(ctx)
		cause := errors.New("enough")
		cancel(cause)
		_, _, err := open(t, dir, layer.Options{}).Get(ctx, layer.Base{}, step("a"), nil)
		if err != cause {
			t.Errorf("got %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestReplacedWhileUsed(t *testing.T) {
	dir := t.TempDir()
	var calls atomic.Int32
	user := open(t, dir, layer.Options{})
	old, _, err := user.Get(ctx, layer.Base{}, step("a"), write(&calls, "old"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(old.Data() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s := open(t, dir, layer.Options{NoCache: true})
	e, _, err := s.Get(ctx, layer.Base{}, step("a"), write(&calls, "new"))
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(e.Data() + "/file"); string(text) != "new" {
		t.Errorf("the new entry holds %q", text)
	}
	if e.ID == old.ID {
		t.Error("the new entry has the identity of the old one")
	}
	if names, _ := os.ReadDir(dir + "/staging"); len(names) != 1 {
		t.Errorf("the old entry, still in use, is not kept: %v", names)
	}
	user.Close()
	open(t, dir, layer.Options{})
	if names, _ := os.ReadDir(dir + "/staging"); len(names) != 0 {
		t.Errorf("the old entry is kept for ever: %v", names)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	open(t, dir, layer.Options{})
	left := filepath.Join(dir, "staging", "left-by-a-killed-process", "data")
	if err := os.MkdirAll(left, 0o755); err != nil {
		t.Fatal(err)
	}
	open(t, dir, layer.Options{})
	if _, err := os.Stat(left); err == nil {
		t.Error("it is still there")
	}
}

func TestCollect(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, layer.Options{})
	big := func(dir string) error { return os.WriteFile(dir+"/file", make([]byte, 1<<20), 0o644) }
	for i := range 4 {
		if _, _, err := s.Get(ctx, layer.Base{}, step(fmt.Sprint("step", i)), big); err != nil {
			t.Fatal(err)
		}
	}
	if removed, err := s.Collect(0); err != nil || len(removed) != 0 {
		t.Fatalf("removed %v, which is in use: %v", removed, err)
	}
	s.Close()
	s = open(t, dir, layer.Options{})
	if _, _, err := s.Get(ctx, layer.Base{}, step("step0"), nil); err != nil { // the oldest, used again
		t.Fatal(err)
	}
	s.Close()
	removed, err := s.Collect(5 << 19) // two and a half
	if err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, m := range removed {
		names += m.Step + " "
	}
	if names != "step2 step1 " {
		t.Errorf("removed %s", names)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || list[0].Step != "step0" {
		t.Errorf("left %v: %v", list, err)
	}
}

func TestHistory(t *testing.T) {
	s := open(t, t.TempDir(), layer.Options{})
	long := strings.Repeat("#", 1000)
	h := s.History("recipe")
	for _, st := range []layer.Step{step("run", "a"), step("run", "b", "c"), step("pack", long)} {
		if got := h.Explain("base", st); got != "a new step" {
			t.Errorf("the first run says %q", got)
		}
	}
	if err := h.Save(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		base string
		step layer.Step
		want string
	}{
		{"base", step("run", "a"), "no longer in the cache"},
		{"base", step("run", "b", "d"), "changed: arg1"},
		{"other", step("run", "b", "c"), "changed: what is below"},
		{"base", step("pack", long+"x"), "changed: arg0"},
		{"base", step("fetch", "x"), "a new step"},
	}
	h = s.History("recipe")
	for _, test := range tests {
		if got := h.Explain(test.base, test.step); got != test.want {
			t.Errorf("%v: %q, want %q", test.step, got, test.want)
		}
	}
}
