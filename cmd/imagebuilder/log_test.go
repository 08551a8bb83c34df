package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"imagebuilder/builtins/build"
	"imagebuilder/runtime"
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

// A run ends with what it came to.
func TestSummary(t *testing.T) {
	short := []build.Done{{Step: "a", Cached: true}, {Step: "b", Took: 0.5}, {Step: "c"}}
	tests := []struct {
		about   string
		steps   []build.Done
		results []build.Result
		want    string
	}{
		{"nothing to show", short, nil, "    1.5s  steps: 3, cached: 1\n"},
		{"a directory", short[:1], []build.Result{{Path: "dir"}}, "    1.5s  steps: 1, cached: 1, results: 1\n"},
		{"files", short, []build.Result{{Path: "a", Size: 1 << 20}, {Path: "b", Size: 1 << 20}}, "    1.5s  steps: 3, cached: 1, results: 2 of 2.0 MiB\n"},
		{"a long step", append(short, build.Done{Step: "install", At: "x.star:3:4", Took: 1.25}), nil,
			"    1.5s  steps: 4, cached: 1\n    1.2s  of it install  (x.star:3:4)\n"},
	}
	for _, test := range tests {
		var out strings.Builder
		printSummary(&out, runtime.Run{Took: 1.5, Steps: test.steps, Results: test.results})
		if out.String() != test.want {
			t.Errorf("%s: got %q, want %q", test.about, out.String(), test.want)
		}
	}
}

// jsonlog FILE MSG holds that each line of a log for programs is as the schema says, and that
// the last one is MSG.
func jsonLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: jsonlog FILE MSG")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(logSchema))
	ts.Check(err)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	ts.Check(compiler.AddResource("log.schema.json", doc))
	schema, err := compiler.Compile("log.schema.json")
	ts.Check(err)
	var last any
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		object, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err == nil {
			err = schema.Validate(object)
		}
		if err != nil {
			ts.Fatalf("%s: %v", line, err)
		}
		last = object.(map[string]any)["msg"]
	}
	if last != args[1] {
		ts.Fatalf("the last line of %s is %v, want %s", args[0], last, args[1])
	}
}
