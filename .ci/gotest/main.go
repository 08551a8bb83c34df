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
	"path/filepath"
	"slices"
	"strings"
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
// written on.
const limit = "-timeout=50m"

// slow are packages whose tests build images, by running programs: the race detector
// would see little of it, and take long.
var slow = []string{"imagebuilder/builtins/disk", "imagebuilder/cmd/imagebuilder", "imagebuilder/stdlib/sources"}

func main() {
	plain, racy, err := split(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	skipped := make(map[string][]string) // tests by the reason
	ok := true
	for _, run := range [][]string{append([]string{"-race"}, racy...), plain} {
		if err := test(run, skipped); err != nil {
			fmt.Fprintln(os.Stderr, err)
			ok = false
		}
	}
	for _, why := range slices.Sorted(maps.Keys(skipped)) {
		fmt.Printf("\nskipped, %s:\n  %s\n", why, strings.Join(skipped[why], "\n  "))
	}
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

// test runs "go test" with further arguments.
func test(args []string, skipped map[string][]string) error {
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
		switch {
		case e.Action == "output":
			output[key] = append(output[key], e.Output)
		case e.Action == "build-output":
			fmt.Print(e.Output)
		case e.Action == "fail":
			fmt.Print(strings.Join(output[key], ""))
		case e.Action == "skip" && e.Test != "":
			why := reason(output[key])
			skipped[why] = append(skipped[why], e.Test)
		case e.Action == "pass" && e.Test == "":
			fmt.Printf("ok   %s (%.1fs)\n", e.Package, e.Elapsed)
		case e.Action == "pass" && e.Elapsed > 30:
			fmt.Printf("     %s (%.1fs)\n", e.Test, e.Elapsed)
		}
	}
	return cmd.Wait()
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
