package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// Commands of scenarios about a terminal, which is one of tmux:
//
//	terminal WIDTH COMMAND   runs a command of the shell on a terminal of so many columns
//	screen FILE REGEXP       waits until the screen matches, and writes it to a file, with N for digits
//	resize WIDTH             gives the terminal another width
//	keys KEY...              types keys, by tmux's names

// terminalKey is where a scenario keeps which terminal is the last.
type terminalKey struct{}

// tmuxIn returns a command of the tmux server of a scenario.
func tmuxIn(ts *testscript.TestScript, args ...string) *exec.Cmd {
	cmd := exec.Command("tmux", append([]string{"-f", "/dev/null", "-S", filepath.Join(ts.Getenv("WORK"), fmt.Sprint("tmux", *terminals(ts)))}, args...)...)
	cmd.Dir = ts.Getenv("WORK")
	for _, name := range []string{"PATH", "HOME", "WORK", "IMAGEBUILDER_CACHE", "NO_COLOR"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	cmd.Env = append(cmd.Env, "LANG=C.UTF-8", "LC_ALL=C.UTF-8")
	return cmd
}

func terminals(ts *testscript.TestScript) *int { return ts.Value(terminalKey{}).(*int) }

func runTmux(ts *testscript.TestScript, args ...string) string {
	out, err := tmuxIn(ts, args...).CombinedOutput()
	if err != nil {
		ts.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

func terminalCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: terminal WIDTH COMMAND")
	}
	*terminals(ts)++
	runTmux(ts, "new-session", "-d", "-x", args[0], "-y", "24", args[1]+"; echo ended with $?; exec cat")
	end := tmuxIn(ts, "kill-server")
	ts.Defer(func() { end.Run() })
}

var digits = regexp.MustCompile(` *\d+\.?\d*(s|…)`)

func screenCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: screen FILE REGEXP")
	}
	want := regexp.MustCompile("(?m)" + args[1])
	screen := ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		screen = runTmux(ts, "capture-pane", "-p")
		if want.MatchString(screen) {
			screen = strings.Trim(strings.ReplaceAll(screen, "before\n", ""), "\n") + "\n"
			ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(digits.ReplaceAllString(screen, "  N$1")), 0o666))
			return
		}
	}
	ts.Fatalf("the screen does not match %q:\n%s", args[1], screen)
}

func resizeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: resize WIDTH")
	}
	runTmux(ts, "resize-window", "-x", args[0])
}

func keysCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: keys KEY...")
	}
	runTmux(ts, append([]string{"send-keys"}, args...)...)
}
