package runtime

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the reference shows as an example, a user can copy: each of them plans.
func TestExamples(t *testing.T) {
	sections, err := Reference(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	dir := exampleDirectory(t)
	for _, s := range sections {
		for _, e := range s.Entries {
			lines := strings.Split(e.Example, "\n")
			switch {
			case s.Title == Fields:
				continue // which the examples of words use
			case e.Example == "":
				t.Errorf("%s: %s has no example", s.Title, e.Signature)
				continue
			case !strings.Contains(e.Example, e.Name) && !strings.Contains(e.Example, strings.SplitN(e.Signature, "(", 2)[0]):
				t.Errorf("%s is not in its example:\n%s", e.Signature, e.Example)
			case len(lines) > 12:
				t.Errorf("%s: its example has %d lines", e.Signature, len(lines))
			}
			try := planExample
			switch s.Title {
			case Testing:
				try = runTestExample
			case Cell:
				try = loadMatrixExample
			}
			if err := try(dir, e); err != nil {
				t.Errorf("%s: %s\n%s", e.Signature, Explain(err), e.Example)
			}
		}
	}
}

// exampleDirectory has the files of this machine that examples name.
func exampleDirectory(t *testing.T) string {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"motd":        "Welcome\n",
		"overlay/etc": "",
		"my.star": `release = option("release", "trixie", values = ["bookworm", "trixie"])

def main():
    root = rootfs(image("debian", release))
    root.mountpoints()
    chroot_run(root, ["apt-get", "install", "openssh-server"])
    if not root.exists("/etc/motd"):
        root.write("/etc/motd", "Welcome\n")
`,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// planExample plans a recipe that consists of an example: one that has no main is in it.
func planExample(dir string, e Entry) error {
	text := e.Example
	if !strings.Contains(text, "def main(") {
		text = inFunction("main", "img = image(\"debian\", \"trixie\")\nroot = rootfs(img, manager = _manager)\nroot.mountpoints()\n"+text)
		text = "load(\"@stdlib//managers/apt.star\", _manager = \"apt\")\n" + text
	}
	function, _, _ := strings.Cut(e.Signature, "(")
	if e.File != "" && !strings.Contains(e.Example, "load(\"@stdlib//"+e.File) {
		text = fmt.Sprintf("load(%q, %q)\n", "@stdlib//"+e.File, function) + text
	}
	file := filepath.Join(dir, "example.star")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	r, err := Load(context.Background(), file, testConfig())
	if err != nil {
		return err
	}
	return r.PlanOn(newTestPlanner(nil))
}

// runTestExample runs an example of a word of tests, beside the recipe my.star.
func runTestExample(dir string, e Entry) error {
	text := e.Example
	if !strings.Contains(text, "def test_") {
		text = inFunction("test_example", text)
	}
	file := filepath.Join(dir, "my_test.star")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	results, err := RunTests(context.Background(), file, TestOptions{Update: true, Config: TestConfig()})
	if err == nil && len(results) != 1 {
		err = fmt.Errorf("%d tests", len(results))
	}
	for _, r := range results {
		if r.Err != nil {
			err = r.Err
		}
	}
	return err
}

// loadMatrixExample loads an example of a matrix file.
func loadMatrixExample(dir string, e Entry) error {
	file := filepath.Join(dir, "matrix.star")
	if err := os.WriteFile(file, []byte(e.Example), 0o644); err != nil {
		return err
	}
	_, err := LoadMatrix(context.Background(), file, testConfig())
	return err
}

// inFunction is a file with a function of lines; what they load is before it.
func inFunction(name, lines string) string {
	head, body := "", "def "+name+"():\n"
	for line := range strings.Lines(lines + "\n") {
		if strings.HasPrefix(line, "load(") {
			head += line
		} else {
			body += "    " + line
		}
	}
	return head + "\n" + body
}
