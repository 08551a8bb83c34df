package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"imagebuilder/builtins/host"
)

// asUser says to the tests of this binary that they are run by the user that
// TestRootlessScripts has made: what needs root is done in a user namespace.
const asUser = "IMAGEBUILDER_TEST_ROOTLESS"

// rootlessScripts are the scenarios that the user runs again. Others make device nodes, as
// rootfs_copy_from, or have root do something outside of the tool: make owners and nodes, as
// unpack_malice and unpack_formats, look at those of results, as rootfs_files, change these, as
// definition_build_dir and definition_pack, or take newuidmap out of PATH, as the end of disk.
var rootlessScripts = []string{
	"cache", "cache_damaged", "chroot_env", "concurrent", "download", "fork", "history", "inspect", "links",
	"definition_build_lxc", "definition_session", "definition_vm",
	"pack_blocks", "pack_cached", "pack_compression", "recipe_from_image",
	"run_escapes", "run_explain", "run_failures", "run_json", "run_secret", "run_session", "run_signals", "run_steps",
	"seal", "shell", "unpack_links",
}

// An ordinary user runs scenarios of every kind, with nothing that they would notice.
func TestRootlessScripts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a user")
	}
	for _, program := range []string{"newuidmap", "useradd", "userdel"} {
		if !host.Installed(program) {
			t.Skipf("needs %s", program)
		}
	}
	if err := host.TryDoor(); err != nil {
		t.Skip(err)
	}
	dir, who := t.TempDir(), makeUser(t)
	for at := dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
		must(t, os.Chmod(at, 0o755))
	}
	// The user need not be able to read where the tests were made, nor where they run.
	must(t, os.MkdirAll(filepath.Join(dir, "cmd", "imagebuilder"), 0o755))
	for from, to := range map[string]string{os.Args[0]: "tests", "../../testdata": "testdata"} {
		to = filepath.Join(dir, to)
		if out, err := exec.Command("cp", "-rL", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if out, err := exec.Command("chmod", "-R", "a+rX", to).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	home := filepath.Join(dir, "home")
	must(t, os.Mkdir(home, 0o700))
	must(t, os.Chown(home, int(who.Uid), int(who.Gid)))
	cmd := exec.Command(filepath.Join(dir, "tests"), "-test.v", "-test.run=^TestScript$/^("+strings.Join(rootlessScripts, "|")+")$")
	cmd.Dir = filepath.Join(dir, "cmd", "imagebuilder")
	cmd.Env = append(os.Environ(), asUser+"=1", "HOME="+home, "TMPDIR="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	out, err := cmd.CombinedOutput()
	results := regexpResults.FindAllStringSubmatch(string(out), -1)
	for _, r := range results {
		t.Log(r[1], r[2])
	}
	if err != nil || len(results) != len(rootlessScripts) {
		t.Errorf("%d of %d scenarios were run: %v\n%s", len(results), len(rootlessScripts), err, out)
	}
}

var regexpResults = regexp.MustCompile(`(?m)^ +--- (PASS|SKIP|FAIL): TestScript/(\S+)`)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// makeUser makes a user with subordinate ids, who is there until the test ends.
func makeUser(t *testing.T) *syscall.Credential {
	name := fmt.Sprintf("imagebuilder%d", os.Getpid())
	if out, err := exec.Command("useradd", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/bin/sh", name).CombinedOutput(); err != nil {
		t.Skipf("cannot make a user: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("userdel", name).CombinedOutput(); err != nil {
			t.Errorf("userdel: %v\n%s", err, out)
		}
	})
	if text, err := os.ReadFile("/etc/subuid"); err != nil || !strings.Contains("\n"+string(text), "\n"+name+":") {
		t.Skip("useradd gives users no subordinate ids here")
	}
	u, err := user.Lookup(name)
	must(t, err)
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	must(t, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	must(t, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
