package layer_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/treetask"
)

func TestMain(m *testing.M) {
	if code, ok := sandbox.Main(append(layer.Tasks, treetask.Editing)...); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

var ctx = context.Background()

func open(t testing.TB, dir string, options layer.Options) *layer.Store {
	t.Helper()
	s, err := layer.Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func step(name string, inputs ...string) layer.Origin {
	st := layer.Origin{Name: name}
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
	get := func(options layer.Options, base layer.Base, st layer.Origin) (*layer.Entry, layer.Outcome) {
		t.Helper()
		s := open(t, dir, options)
		defer s.Close()
		e, out, err := s.Get(ctx, base, st, write(&calls, "text"))
		if err != nil {
			t.Fatal(err)
		}
		return e, out
	}
	network := layer.Origin{Name: "install", Network: true}
	first, _ := get(layer.Options{}, layer.Base{}, step("a"))
	tests := []struct {
		summary string
		options layer.Options
		base    layer.Base
		step    layer.Origin
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

func TestMaxAge(t *testing.T) {
	dir, made := t.TempDir(), time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		summary string
		after   time.Duration
		max     time.Duration
		hit     bool
	}{
		{"it is made", 0, time.Hour, false},
		{"young enough", time.Hour, time.Hour, true},
		{"of any age", 1000 * time.Hour, 0, true},
		{"older than asked for", time.Hour + 1, time.Hour, false},
		{"its age counts from when it was made", 2*time.Hour + 1, time.Hour, true},
		{"what is made later than now is not old but wrong", 0, time.Hour, false},
	}
	for _, test := range tests {
		s := open(t, dir, layer.Options{Clock: func() time.Time { return made.Add(test.after) }})
		st := step("a")
		st.MaxAge = test.max
		_, out, err := s.Get(ctx, layer.Base{}, st, func(string) error { return nil })
		if err != nil || out.Hit != test.hit {
			t.Errorf("%s: hit %v, %v", test.summary, out.Hit, err)
		}
		s.Close()
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

// What was made of something that has changed meanwhile is not kept.
func TestCheckedBeforeItIsKept(t *testing.T) {
	needRoot(t)
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprint("plain=", plain), func(t *testing.T) {
			s := open(t, t.TempDir(), layer.Options{NoOverlay: plain})
			var made atomic.Int32
			change := func(check error) error {
				st := step("a")
				st.Check = func(context.Context) error {
					if made.Load() == 0 {
						t.Error("it is checked before it is made")
					}
					return check
				}
				_, err := s.NewState().Change(ctx, st, func(context.Context, sandbox.Stack) error { made.Add(1); return nil })
				return err
			}
			cause := errors.New("changed")
			if err := change(cause); !errors.Is(err, cause) {
				t.Errorf("got %v", err)
			}
			if err := change(nil); err != nil || made.Load() != 2 {
				t.Errorf("made %d times, %v", made.Load(), err)
			}
		})
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
	if text, _ := os.ReadFile(old.Data() + "/file"); string(text) != "old" {
		t.Errorf("what is used has become %q", text)
	}
	user.Close()
	if names, _ := os.ReadDir(dir + "/results"); len(names) != 1 {
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

// What a step on a plain copy has made unchangeable is removed like all else.
func TestSweepFrozen(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, "staging", "left", "sub")
	if err := errors.Join(open(t, dir, layer.Options{}).Close(), os.MkdirAll(left, 0o755), os.WriteFile(left+"/file", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exec.Command("chattr", "-R", "-i", dir).Run() })
	if out, err := exec.Command("chattr", "+i", left+"/file", left).CombinedOutput(); err != nil {
		t.Skipf("%v: %s", err, out)
	}
	open(t, dir, layer.Options{})
	if _, err := os.Stat(left); err == nil {
		t.Error("it is still there")
	}
}

// What is in a store that no run has put there is neither waited for nor believed.
func TestStrangers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, layer.Options{})
	var calls atomic.Int32
	if _, _, err := s.Get(ctx, layer.Base{}, step("a"), write(&calls, "a")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	err := errors.Join(unix.Mkfifo(dir+"/staging/pipe", 0o600), unix.Mkfifo(dir+"/results/pipe", 0o600))
	for i, to := range []string{"/", "..", "."} {
		err = errors.Join(err, os.Symlink(to, dir+"/entries/"+strings.Repeat(strconv.Itoa(i), 64)))
	}
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, layer.Options{})
	if _, err := s.Collect(1 << 30); err != nil {
		t.Error(err)
	}
	if _, out, err := s.Get(ctx, layer.Base{}, step("a"), write(&calls, "a")); err != nil || !out.Hit {
		t.Errorf("what a run has put there: hit %v, %v", out.Hit, err)
	}
	s.Close()
	os.Remove(dir + "/idmap")
	if err := unix.Mkfifo(dir+"/idmap", 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := layer.Open(dir, layer.Options{}); err == nil || !strings.HasSuffix(err.Error(), "idmap: not a regular file") {
		t.Errorf("got %v", err)
	}
}

func TestCollect(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, layer.Options{})
	big := func(dir string) error { return os.WriteFile(dir+"/file", make([]byte, 1<<20), 0o644) }
	var keys []string
	for i := range 4 {
		e, _, err := s.Get(ctx, layer.Base{}, step(fmt.Sprint("step", i)), big)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, e.Key)
	}
	if removed, err := s.Collect(0); err != nil || len(removed) != 0 {
		t.Fatalf("removed %v, which is in use: %v", removed, err)
	}
	s.Close()
	for i, key := range keys {
		used := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(filepath.Join(dir, "entries", key, "meta.json"), used, used); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir, layer.Options{})
	if _, _, err := s.Get(ctx, layer.Base{}, step("step0"), nil); err != nil { // the oldest, used again
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir, layer.Options{})
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
	if names, _ := os.ReadDir(dir + "/results"); len(names) != 2 {
		t.Errorf("results left: %v", names)
	}
}

// Goroutines of one process share a store, as downloads do.
func TestConcurrentGoroutines(t *testing.T) {
	s := open(t, t.TempDir(), layer.Options{})
	var calls atomic.Int32
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			if _, _, err := s.Get(ctx, layer.Base{}, step("a", fmt.Sprint(i%10)), write(&calls, "text")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if calls.Load() != 10 {
		t.Errorf("built %d times, want 10", calls.Load())
	}
}

// A shelf is a store elsewhere that is in memory. With rot, what comes back is damaged.
type shelf struct {
	mu    sync.Mutex
	metas map[string]layer.Meta
	texts map[string]string
	rot   bool
	down  bool
}

func (f *shelf) Look(_ context.Context, address string) (*layer.Meta, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, errors.New("nobody answers")
	}
	if meta, ok := f.metas[address]; ok {
		return &meta, nil
	}
	return nil, nil
}

func (f *shelf) Pull(_ context.Context, address, dir string) error {
	text := f.texts[address]
	if f.rot {
		text += "rot"
	}
	name := filepath.Join(dir, "file")
	then := time.Unix(1e9, 0)
	return errors.Join(os.WriteFile(name, []byte(text), 0o644), os.Chtimes(name, then, then), os.Chtimes(dir, then, then))
}

func (f *shelf) Push(_ context.Context, address string, meta layer.Meta, dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "file"))
	f.metas[address], f.texts[address] = meta, string(text)
	return err
}

func (f *shelf) Used(string) {}

// With an epoch a layer that is made again is the same one.
func TestEpoch(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
	id := func(epoch host.Epoch) string {
		state := open(t, t.TempDir(), layer.Options{Epoch: epoch}).NewState()
		_, err := state.Change(ctx, step("a"), func(_ context.Context, stack sandbox.Stack) error {
			in := func(name string) string { return filepath.Join(stack.Upper, name) }
			old := time.Unix(1e8, 5)
			return errors.Join(os.Mkdir(in("dir"), 0o755), os.WriteFile(in("dir/new"), []byte("text"), 0o644), os.Symlink("new", in("dir/link")),
				os.WriteFile(in("old"), []byte("text"), 0o644), os.Chtimes(in("old"), old, old))
		})
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(filepath.Join(state.Stack().Lower[0], "old"))
		if err != nil || st.ModTime() != time.Unix(1e8, 5) {
			t.Errorf("what is old is of %v: %v", st.ModTime(), err)
		}
		return state.ID()
	}
	for epoch, same := range map[host.Epoch]bool{"1000000000": true, "": false} { // without one nothing is changed
		if first, second := id(epoch), id(epoch); (first == second) != same {
			t.Errorf("epoch %q: %s, then %s", epoch, first, second)
		}
	}
}

func TestRemote(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts")
	}
	f := &shelf{metas: make(map[string]layer.Meta), texts: make(map[string]string)}
	tests := []struct {
		summary   string
		rot, down bool
		hit       bool
	}{
		{"what nobody has is built", false, false, false},
		{"what somebody has is taken", false, false, true},
		{"what is not what it should be is built", true, false, false},
		{"and so it is when nobody answers", false, true, false},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f.rot, f.down = test.rot, test.down
			s := open(t, t.TempDir(), layer.Options{Remote: f})
			state := s.NewState()
			out, err := state.Change(ctx, step("a"), func(_ context.Context, stack sandbox.Stack) error {
				name := filepath.Join(stack.Upper, "file")
				then := time.Unix(1e9, 0)
				return errors.Join(os.WriteFile(name, []byte("text"), 0o644), os.Chtimes(name, then, then), os.Chtimes(stack.Upper, then, then))
			})
			if err != nil || out.Hit != test.hit {
				t.Errorf("hit %v, %v", out.Hit, err)
			}
			if text, _ := os.ReadFile(filepath.Join(state.Stack().Lower[0], "file")); string(text) != "text" {
				t.Errorf("the layer holds %q", text)
			}
		})
	}
}
