package main

import (
	"bytes"
	"strings"
	"testing"

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
