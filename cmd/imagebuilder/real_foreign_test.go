package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/magic"
)

// Images for other machines than this one, whose programs an emulator runs.

// emulation returns what is to stand before a command line so that programs of other
// machines run: nothing if they do anyway. Else the emulators are registered for as long as
// that command runs. Who runs foreign programs in that time, in whatever namespace, has
// them, since there is one register; nothing stays.
func emulation(t *testing.T) []string {
	t.Helper()
	if testing.Short() {
		t.Skip("takes minutes")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: builds")
	}
	if emulated(t, "aarch64") {
		return nil
	}
	need(t, "qemu-aarch64-static", "qemu-user-static")
	need(t, "unshare", "util-linux")
	const register = "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc && /lib/systemd/systemd-binfmt"
	if out, err := exec.Command("unshare", "--mount", "sh", "-c", register).CombinedOutput(); err != nil {
		t.Skipf("emulators cannot be registered here: %v\n%s", err, out)
	}
	return []string{"unshare", "--mount", "sh", "-c", register + ` && exec "$@"`, "sh"}
}

func emulated(t *testing.T, machine string) bool {
	t.Helper()
	runs, err := host.Runs(context.Background(), magic.Programs(machine))
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

// Programs and package managers of each architecture run where there are emulators for
// them; where there are none, the error says what brings them.
func TestForeignArchitectures(t *testing.T) {
	before := emulation(t)
	need(t, "go", "golang")
	dir := t.TempDir()
	for name, text := range map[string]string{
		// It says what it is for, and how it was called.
		"said.go": `package main

import (
	"os"
	"runtime"
	"strings"
)

func main() {
	f, err := os.OpenFile("/said", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	f.WriteString(runtime.GOARCH + ": " + strings.Join(os.Args, " ") + "\n")
}
`,
		"recipe.star": `
load("@stdlib//managers/index.star", "MANAGERS")

architecture = option("architecture", "")
program = option("program", "")

def main():
    root = rootfs(image("said", architecture = architecture), MANAGERS["xbps"])
    for path in ["/bin/sh", "/bin/xbps-install"]:
        root.copy(local(program), path, mode = 0o755)
    chroot_run(root, "#!/bin/sh -e\n")
    install(root, ["a"])
    print(root.read("/said"))
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ architecture, goarch, machine string }{
		{"aarch64", "arm64", "aarch64"},
		{"armhf", "arm", "arm"},
		{"riscv64", "riscv64", "riscv64"},
		{"ppc64el", "ppc64le", "ppc64le"},
		{"s390x", "s390x", "s390x"},
	} {
		t.Run(test.architecture, func(t *testing.T) {
			build := exec.Command("go", "build", "-o", filepath.Join(dir, test.goarch), "said.go")
			build.Dir = dir
			build.Env = append(os.Environ(), "GOARCH="+test.goarch, "GOARM=7", "CGO_ENABLED=0", "GO111MODULE=off", "GOFLAGS=")
			if out, err := build.CombinedOutput(); err != nil {
				t.Skipf("this Go cannot build for %s: %v\n%s", test.goarch, err, out)
			}
			run := func(before []string) (string, error) {
				line := append(append([]string(nil), before...), "imagebuilder", "run", filepath.Join(dir, "recipe.star"), dir,
					"--cache", t.TempDir(), "-o", "architecture="+test.architecture, "-o", "program="+test.goarch)
				out, err := exec.Command(line[0], line[1:]...).CombinedOutput()
				return string(out), err
			}
			if !emulated(t, test.machine) {
				out, err := run(nil)
				if want := "is a program for " + test.machine + "; " + host.Emulators; err == nil || !strings.Contains(out, want) {
					t.Errorf("without an emulator: %v\n%s", err, out)
				}
			}
			out, err := run(before)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range []string{": /bin/sh -e ", ": xbps-install --sync\n", ": xbps-install --yes a\n"} {
				if !strings.Contains(out, test.goarch+want) {
					t.Errorf("there is no %q in\n%s", test.goarch+want, out)
				}
			}
		})
	}
}

// Debian for arm64, with a package of its archive.
func TestDebianForArm64(t *testing.T) {
	t.Parallel() // a build keeps one processor busy
	archive, _ := mirrors(t)
	before := emulation(t)
	dir := t.TempDir()
	recipe := filepath.Join(dir, "recipe.star")
	text := `load("@stdlib//sources/debian.star", "debootstrap")
url = option("url", "")
def main():
    root = debootstrap(image("debian", "trixie", architecture = "arm64"), url, variant = "minbase", snapshot = True)
    install(root, ["hello"], clean = True)
    chroot_run(root, "#!/bin/sh\nset -e\nexec >/said\ndpkg --print-architecture\nhello\n")
    print(root.read("/said"))
`
	if err := os.WriteFile(recipe, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(before ...string) (string, error) {
		line := append(append([]string(nil), before...), "imagebuilder", "run", recipe, dir, "--cache", sharedCache(t), "-o", "url="+archive)
		out, err := exec.Command(line[0], line[1:]...).CombinedOutput()
		return string(out), err
	}
	if !emulated(t, "aarch64") {
		if out, err := run(); err == nil || !strings.Contains(out, "this machine runs no programs for aarch64; "+host.Emulators) {
			t.Errorf("without an emulator: %v\n%s", err, out)
		}
	}
	if out, err := run(before...); err != nil || !strings.Contains(out, "arm64\nHello, world!") {
		t.Fatalf("%v\n%s", err, out)
	}
}
