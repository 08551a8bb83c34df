package layer_test

import (
	"strconv"
	"strings"
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

// TestHistoryAnswers holds that answers are remembered for one run.
func TestHistoryAnswers(t *testing.T) {
	s := open(t, t.TempDir(), layer.Options{})
	h := s.History("recipe")
	if before := h.Answered("links a"); before != nil {
		t.Errorf("the first run has %s", before)
	}
	h.Answer("links a", []byte(`["1"]`))
	if err := h.Save(); err != nil {
		t.Fatal(err)
	}
	h = s.History("recipe")
	if got := h.Answered("links a"); string(got) != `["1"]` {
		t.Errorf("got %s", got)
	}
	h.Answer("links b", []byte(`[]`))
	if err := h.Save(); err != nil {
		t.Fatal(err)
	}
	h = s.History("recipe")
	if h.Answered("links a") != nil || h.Answered("links b") == nil {
		t.Error("what the last run has not asked is still there, or the other way round")
	}
	var none *layer.History
	if none.Answer("links a", nil); none.Answered("links a") != nil {
		t.Error("none remembers something")
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
