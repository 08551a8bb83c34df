package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A signal ends a run in order from the first thing that it does.
func TestEarlySignal(t *testing.T) {
	dir := t.TempDir()
	recipe, result := filepath.Join(dir, "endless.star"), filepath.Join(dir, "result.json")
	if err := os.WriteFile(recipe, []byte("def main():\n    for i in range(1 << 40):\n        pass\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		os.Remove(result)
		cmd := exec.Command("imagebuilder", "run", recipe, dir, "--cache", filepath.Join(dir, "cache"), "--result", result, "--timeout", "1m")
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // what comes later comes as late as it can
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); !fileExists(result) && time.Now().Before(deadline); {
			time.Sleep(10 * time.Microsecond)
		}
		cmd.Process.Signal(syscall.SIGTERM) // which nobody ignores
		cmd.Wait()
		said, _ := os.ReadFile(result)
		if code := cmd.ProcessState.ExitCode(); code != 143 || !strings.Contains(string(said), `"interrupted"`) {
			t.Fatalf("ended with %v, and the result says:\n%s", cmd.ProcessState, said)
		}
	}
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
