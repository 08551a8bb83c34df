package layer_test

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	"imagebuilder/builtins/layer"
)

func TestHistory(t *testing.T) {
	s := open(t, t.TempDir(), layer.Options{})
	long := strings.Repeat("#", 1000)
	h := s.History("recipe")
	for _, st := range []layer.Origin{step("run", "a"), step("run", "b", "c"), step("pack", long)} {
		if got := h.Explain("base", st); got != "a new step" {
			t.Errorf("the first run says %q", got)
		}
	}
	if err := h.Save(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		base string
		step layer.Origin
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

// TestHistoryAnswers holds that answers are remembered, also while runs with other options
// ask for others, but not for good.
func TestHistoryAnswers(t *testing.T) {
	s := open(t, t.TempDir(), layer.Options{})
	run := func(question, answer string) {
		h := s.History("recipe")
		h.Answer(question, []byte(answer))
		if err := h.Save(); err != nil {
			t.Fatal(err)
		}
	}
	answered := func(question string) string { return string(s.History("recipe").Answered(question)) }
	if got := answered("links a"); got != "" {
		t.Errorf("the first run has %s", got)
	}
	run("links a", `["1"]`)
	run("links b", `["2"]`)
	run("links a", `["3"]`)
	if a, b := answered("links a"), answered("links b"); a != `["3"]` || b != `["2"]` {
		t.Errorf("got %s and %s", a, b)
	}
	for range 100 {
		run("links a", `["3"]`)
	}
	if a, b := answered("links a"), answered("links b"); a != `["3"]` || b != "" {
		t.Errorf("after a hundred runs, got %s and %s", a, b)
	}
	var none *layer.History
	if none.Answer("links a", nil); none.Answered("links a") != nil {
		t.Error("none remembers something")
	}
}

// TestHistoryAtOnce holds that runs of a recipe that end at once are all kept, as cells of a
// matrix do.
func TestHistoryAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wait sync.WaitGroup
	for i := range 16 {
		h := open(t, dir, layer.Options{}).History("recipe")
		wait.Go(func() {
			h.Answer("of "+strconv.Itoa(i), []byte("1"))
			if err := errors.Join(h.Report(i), h.Save()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	h := open(t, dir, layer.Options{}).History("recipe")
	if runs := h.Runs(); len(runs) != 16 {
		t.Errorf("%d runs are kept: %s", len(runs), runs)
	}
	for i := range 16 {
		if h.Answered("of "+strconv.Itoa(i)) == nil {
			t.Errorf("the answer of run %d is lost", i)
		}
	}
}

// TestHistoryLong holds that a step is compared with those around its place, of however
// many.
func TestHistoryLong(t *testing.T) {
	s := open(t, t.TempDir(), layer.Options{})
	h := s.History("recipe")
	for i := range 500 {
		h.Explain("base", step("run", "the same", strconv.Itoa(i), "rest"))
	}
	if err := h.Save(); err != nil {
		t.Fatal(err)
	}
	h = s.History("recipe")
	h.Explain("base", step("run", "inserted"))
	for i := range 500 {
		want, text := "no longer in the cache", "rest"
		if i == 400 {
			want, text = "changed: arg2", "other"
		}
		if got := h.Explain("base", step("run", "the same", strconv.Itoa(i), text)); got != want {
			t.Errorf("step %d: %q, want %q", i, got, want)
		}
	}
	if got := h.Explain("base", step("run", "the same", "appended")); !strings.HasPrefix(got, "changed: ") {
		t.Errorf("an appended step: %q", got)
	}
}

// BenchmarkExplain is of long recipes of which all has changed.
func BenchmarkExplain(b *testing.B) {
	s := open(b, b.TempDir(), layer.Options{})
	for b.Loop() {
		h := s.History("recipe")
		for i := range 4000 {
			h.Explain("base", step("run", strconv.Itoa(i), strconv.Itoa(b.N)))
		}
		if err := h.Save(); err != nil {
			b.Fatal(err)
		}
	}
}
