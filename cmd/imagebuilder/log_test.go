package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/build"
	"imagebuilder/streams"
)

// TestVisible holds that names of files that others made cannot write on the terminal
// what they like.
func TestVisible(t *testing.T) {
	evil := "\x1b[31m\u009b2J\x9b\u202ered\n   error  forged é"
	want := `\x1b[31m\u009b2J\x9b\u202ered\n   error  forged é`
	var out bytes.Buffer
	logOptions{}.logger(&out).Warn("Left out", "path", evil)
	if got := out.String(); got != " warning  Left out (path="+want+")\n" {
		t.Errorf("log: %q", got)
	}
	out.Reset()
	report := streams.Report{Faults: []streams.Fault{{Kind: "combined", Path: "images/x", Problem: "item " + evil}}}
	if err := printFaults(&out, report, false); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := strings.Cut(out.String(), "\n"); got != "combined   images/x: item "+want {
		t.Errorf("faults: %q", got)
	}
}

// A run on a terminal ends with what it came to.
func TestSummary(t *testing.T) {
	tests := []struct {
		steps   stepCount
		results []build.Result
		want    string
	}{
		{stepCount{3, 1}, nil, "    1.5s  steps: 3, cached: 1"},
		{stepCount{3, 3}, []build.Result{{Path: "dir"}}, "    1.5s  steps: 3, cached: 3, results: 1"},
		{stepCount{4, 0}, []build.Result{{Path: "a", Size: 1 << 20}, {Path: "b", Size: 1 << 20}}, "    1.5s  steps: 4, cached: 0, results: 2 of 2.0 MiB"},
	}
	for _, test := range tests {
		if got := test.steps.summary(1500*time.Millisecond, test.results); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
