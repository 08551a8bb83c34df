// Command gotest runs the tests of the packages that it is given, those with goroutines
// under the race detector, shows what failed, and says at the end which tests were skipped
// and why, which go test itself keeps to itself.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// event is a line of "go test -json"; see "go doc test2json".
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

// limit is what a package may take on a machine four times slower than those this was
// written on, where cmd/imagebuilder takes 27 minutes.
const limit = "-timeout=2h"

// slow are packages whose tests build images, by running programs: the race detector
// would see little of it, and take long.
var slow = []string{"imagebuilder/builtins/disk", "imagebuilder/cmd/imagebuilder", "imagebuilder/stdlib/sources"}

func main() {
	plain, racy, err := split(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	tests := tests{skipped: make(map[string][]string), running: make(map[string]time.Time)}
	tests.tellIfEnded()
	ok := true
	for _, run := range [][]string{append([]string{"-race"}, racy...), plain} {
		if err := tests.run(run); err != nil {
			fmt.Fprintln(os.Stderr, err)
			ok = false
		}
	}
	for _, why := range slices.Sorted(maps.Keys(tests.skipped)) {
		fmt.Printf("\nskipped, %s:\n  %s\n", why, strings.Join(tests.skipped[why], "\n  "))
	}
	tests.sayFailed()
	if !ok {
		os.Exit(1)
	}
}

// split tells the packages whose code or tests start goroutines, or guard against them,
// from the others.
func split(patterns []string) (plain, racy []string, err error) {
	out, err := exec.Command("go", append([]string{"list", "-f", "{{.ImportPath}} {{.Dir}}"}, patterns...)...).Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go list: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		concurrent, err := hasGoroutines(dir)
		if err != nil {
			return nil, nil, err
		}
		if concurrent && !slices.Contains(slow, pkg) {
			racy = append(racy, pkg)
		} else {
			plain = append(plain, pkg)
		}
	}
	return plain, racy, nil
}

func hasGoroutines(dir string) (bool, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	found := false
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return false, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				found = true
			case *ast.ImportSpec:
				path := strings.Trim(n.Path.Value, `"`)
				found = found || path == "sync" || path == "sync/atomic" || path == "golang.org/x/sync/errgroup"
			}
			return true
		})
	}
	return found, err
}

// tests is what there is to say at the end of all runs.
type tests struct {
	skipped map[string][]string // tests by the reason
	failed  []string            // each with what it said first

	mu      sync.Mutex
	running map[string]time.Time // tests at work, since when
}

// tellIfEnded names the tests at work when somebody loses patience: one of them may hang.
func (t *tests) tellIfEnded() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, unix.SIGTERM)
	go func() {
		sig := <-ended
		t.mu.Lock() // for good
		fmt.Printf("\n%s; running:\n", sig)
		for _, key := range slices.Sorted(maps.Keys(t.running)) {
			fmt.Printf("  %s (%.0fs)\n", key, time.Since(t.running[key]).Seconds())
		}
		t.sayFailed()
		os.Exit(1)
	}()
}

func (t *tests) sayFailed() {
	if len(t.failed) > 0 {
		fmt.Printf("\nfailed:\n  %s\n", strings.Join(t.failed, "\n  "))
	}
}

// ran notes that a test runs, or does so no more.
func (t *tests) ran(key, action string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch action {
	case "run", "cont":
		t.running[key] = time.Now()
	case "pause", "pass", "fail", "skip":
		delete(t.running, key)
	}
}

// run runs "go test" with further arguments.
func (t *tests) run(args []string) error {
	cmd := exec.Command("go", append([]string{"test", "-json", limit}, args...)...)
	// Else every process sleeps for a second at its end, and each step of a build is one.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	output := make(map[string][]string) // by package and test
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text()) // what fails to build is not JSON
			continue
		}
		key := e.Package + " " + e.Test
		if e.Test != "" {
			t.ran(key, e.Action)
		}
		switch {
		case e.Action == "output":
			output[key] = append(output[key], e.Output)
		case e.Action == "build-output":
			fmt.Print(e.Output)
		case e.Action == "fail":
			fmt.Print(strings.Join(output[key], ""))
			if text := complaint(output[key]); text != "" {
				t.mu.Lock()
				t.failed = append(t.failed, key+": "+text)
				t.mu.Unlock()
			}
		case e.Action == "skip" && e.Test != "":
			why := reason(output[key])
			t.skipped[why] = append(t.skipped[why], e.Test)
		case e.Action == "pass" && e.Test == "":
			fmt.Printf("ok   %s (%.1fs)\n", e.Package, e.Elapsed)
		case e.Action == "pass" && e.Elapsed > 30:
			fmt.Printf("     %s (%.1fs)\n", e.Test, e.Elapsed)
		}
	}
	return cmd.Wait()
}

// complaint is the first thing that a test has said, and a script the last; "" where only
// tests inside it have failed.
func complaint(output []string) string {
	said := ""
	for _, line := range output {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "FAIL: ") || strings.HasPrefix(line, "panic: "):
			return line
		case said == "" && strings.Contains(line, "_test.go:"):
			said = line
		}
	}
	return said
}

// reason is the last thing a test has said before it was skipped.
func reason(output []string) string {
	for i := len(output) - 1; i >= 0; i-- {
		line := strings.TrimSpace(output[i])
		if _, text, ok := strings.Cut(line, " skip '"); ok { // of a script
			return strings.TrimSuffix(text, "'")
		}
		if _, text, ok := strings.Cut(line, ".go:"); ok {
			_, line, _ = strings.Cut(text, ": ")
			return line
		}
	}
	return "it does not say why"
}
