package matrix

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imagebuilder/builtins/build"
)

// What is given of a run is below its target directory, and only of one that came to a good end.
func TestReport(t *testing.T) {
	target := t.TempDir()
	for _, name := range []string{"tree/file", "a/image", "a/SHA256SUMS"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(target, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(target, name), []byte("text"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := Result{ID: "a", Status: OK, Results: []build.Result{{Path: filepath.Join(target, "a/image"), Size: 4, SHA256: "sum"}, {Path: filepath.Join(target, "tree")}}}
	names := func(r Result) string {
		said, err := r.Report("recipes/a.star", nil, target)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseResult(said.Result)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range said.Files {
			names = append(names, f.Name)
		}
		for _, result := range again.Results {
			names = append(names, result.Path)
		}
		return said.Recipe + ": " + strings.Join(names, " ")
	}
	if got, want := names(r), "a.star: a/image a/SHA256SUMS a/image tree"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.Status = Failed
	if got, want := names(r), "a.star: "; got != want {
		t.Errorf("of one that failed: got %q, want %q", got, want)
	}
}

func FuzzParseResult(f *testing.F) {
	f.Add([]byte(`{"status":"ok","results":[{"path":"sub/image","size":5,"sha256":"aa"}]}`))
	f.Add([]byte(`{"status":"ok","results":[{"path":"../image"}]}`))
	f.Add([]byte(`{"status":"\u001b[2J"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseResult(text)
		if err != nil {
			return
		}
		if !slices.Contains([]string{OK, Failed, Interrupted, Running}, r.Status) {
			t.Errorf("took the status %q", r.Status)
		}
		for _, result := range r.Results {
			if at := filepath.Join("/out/cell", result.Path); at != "/out/cell" && !strings.HasPrefix(at, "/out/cell/") {
				t.Errorf("took the result %q", result.Path)
			}
		}
		if _, err := json.Marshal(r); err != nil {
			t.Errorf("cannot write what was read: %v", err)
		}
	})
}
