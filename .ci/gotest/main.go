// Command gotest runs "go test" with the given arguments, shows what failed, and says at
// the end which tests were skipped and why, which go test itself keeps to itself.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
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

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	output := make(map[string][]string)  // by package and test
	skipped := make(map[string][]string) // tests by the reason
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
		}
	}
	err = cmd.Wait()
	for _, why := range slices.Sorted(maps.Keys(skipped)) {
		fmt.Printf("\nskipped, %s:\n  %s\n", why, strings.Join(skipped[why], "\n  "))
	}
	if err != nil {
		os.Exit(1)
	}
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
