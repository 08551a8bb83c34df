package timespan_test

import (
	"testing"
	"time"

	"imagebuilder/builtins/timespan"
)

func TestSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "90s": 90 * time.Second, "2h": 2 * time.Hour, "1h30m": 90 * time.Minute, "1.5h": 90 * time.Minute,
		"30d": 30 * 24 * time.Hour, "1w 2d 3h4m5s": 9*24*time.Hour + 3*time.Hour + 4*time.Minute + 5*time.Second, "250ms": 250 * time.Millisecond,
	} {
		var s, again timespan.Span
		if err := s.Set(text); err != nil || time.Duration(s) != want {
			t.Errorf("%q is taken for %v, %v", text, s, err)
		}
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%q is printed as %q: %v", text, s, err)
		}
	}
	for text, want := range map[string]string{"7200s": "2h", "90m": "1h30m", "192h": "8d", "0": "0s", "3601s": "1h0m1s"} {
		var s timespan.Span
		if err := s.Set(text); err != nil || s.String() != want {
			t.Errorf("%s is printed as %s, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "soon", "-1h", "5", "1y", "99999999999w"} {
		var s timespan.Span
		if err := s.Set(text); err == nil {
			t.Errorf("%q is taken for %v", text, s)
		}
	}
}
