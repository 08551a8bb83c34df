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

// A userMachine is this machine for a user who was made for a test: the tool, a recipe, and a
// directory to work in.
type userMachine struct {
	dir string // where the tool and, in "home", the user work
	who *syscall.Credential
}

// newUserMachine makes one, or skips the test.
func newUserMachine(t *testing.T, recipe string) userMachine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make a user")
	}
	for program, pkg := range map[string]string{
		"newuidmap": "uidmap", "useradd": "passwd", "userdel": "passwd", "setpriv": "util-linux", "unshare": "util-linux", "/bin/busybox": "busybox-static",
	} {
		need(t, program, pkg)
	}
	if err := host.TryDoor(); err != nil {
		t.Skip(err)
	}
	m := userMachine{t.TempDir(), makeUser(t)}
	for at := m.dir; at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
		must(t, os.Chmod(at, 0o755))
	}
	output(t, nil, "cp", "-L", os.Args[0], m.tool())
	must(t, os.Chmod(m.tool(), 0o755))
	library, err := os.ReadFile("../../testdata/recipes/busybox.star")
	must(t, err)
	must(t, os.Mkdir(m.home(), 0o700))
	for name, text := range map[string]string{"busybox.star": string(library), "recipe.star": recipe} {
		must(t, os.WriteFile(filepath.Join(m.home(), name), []byte(text), 0o644))
	}
	must(t, os.Chown(m.home(), int(m.who.Uid), int(m.who.Gid)))
	return m
}

func (m userMachine) tool() string { return filepath.Join(m.dir, "imagebuilder") }
func (m userMachine) home() string { return filepath.Join(m.dir, "home") }

// command is a shell script of the user's, which root has prepared by another in a mount
// namespace of its own. The tool is $tool there.
func (m userMachine) command(prepare, script string, args ...string) *exec.Cmd {
	become := fmt.Sprintf("exec setpriv --reuid=%d --regid=%d --clear-groups sh -c \"$script\" sh \"$@\"", m.who.Uid, m.who.Gid)
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-ec", prepare + "\n" + become, "sh"}, args...)...)
	cmd.Dir = m.home()
	cmd.Env = append(os.Environ(), "script="+script, "tool="+m.tool(), "HOME="+m.home(), "TMPDIR="+m.home(), "dir="+m.dir,
		fmt.Sprint("uid=", m.who.Uid), "name="+m.name(), "IMAGEBUILDER_CACHE="+filepath.Join(m.home(), "cache"))
	return cmd
}

func (m userMachine) name() string {
	u, err := user.LookupId(strconv.Itoa(int(m.who.Uid)))
	if err != nil {
		return ""
	}
	return u.Username
}

// What keeps a user from building is said in one sentence, which ends in what to do, before
// anything is written.
func TestRootlessTrouble(t *testing.T) {
	m := newUserMachine(t, "load(\"busybox.star\", \"busybox\")\n\ndef main():\n    export(busybox(), \"tree\")\n")
	const run = `exec "$tool" run recipe.star out`
	ranges := func(text string) string {
		return "printf '%s\n' \"" + text + "\" >$dir/ranges; for file in subuid subgid; do mount --bind $dir/ranges /etc/$file; done"
	}
	const asRoot = "or run this as root"
	tests := []struct{ summary, prepare, script, want string }{
		{"no newuidmap", "", `PATH=/nowhere; ` + run, "newuidmap is not installed, which gives a user further ids: install the package uidmap, " + asRoot},
		{"newuidmap is not setuid", "mkdir -p $dir/bin; cp /usr/bin/new?idmap $dir/bin; chmod 755 $dir/bin/*", `PATH=$dir/bin:$PATH; ` + run,
			"cannot give the user namespace its ids: .*/newuidmap is not setuid root; have the administrator run 'chmod u.s .*/newuidmap', " + asRoot},
		{"no range", ranges(""), run,
			"/etc/subuid gives no ids to .*, and a build needs 65535: have the administrator run 'usermod --add-subuids .* --add-subgids .*', with ids that nobody else has; " + asRoot},
		{"a small range", ranges("$name:100000:1000"), run, "/etc/subuid gives 1000 ids to .*, and a build needs 65535: have the administrator run 'usermod .*; " + asRoot},
		{"no namespaces", "", `exec unshare --user --map-user=$uid --keep-caps sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$tool" run recipe.star out'`,
			"cannot make a user namespace: the setting user.max_user_namespaces is 0; have the administrator run 'sysctl user.max_user_namespaces=10000', " + asRoot},
		{"root's cache", "mkdir -p $dir/roots", `exec "$tool" run recipe.star out --cache $dir/roots`,
			"cannot use the cache: .*/roots belongs to another user, who could put anything into it; choose another cache with --cache"},
		{"a masked /proc", "mount --bind /dev/null /proc/version", run, "cannot mount /proc: a container hides parts of its own; allow nesting in LXD by .*"},
	}
	one := regexp.MustCompile(`(?m)^error: `)
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			out, err := m.command(test.prepare, test.script).CombinedOutput()
			if err == nil || !regexp.MustCompile("(?m)^error: (.*: )?"+test.want+"$").Match(out) || len(one.FindAll(out, -1)) != 1 {
				t.Errorf("%v, want %s:\n%s", err, test.want, out)
			}
			if _, err := os.Stat(filepath.Join(m.home(), "out")); err == nil {
				t.Error("there are results")
			}
			if strings.Contains(test.script, "--cache") {
				return
			}
			// Doctor knows it as well.
			out, err = m.command(test.prepare, strings.ReplaceAll(test.script, "run recipe.star out", "doctor ./recipe.star")).CombinedOutput()
			if err == nil || !regexp.MustCompile("(?m)^PROBLEM +[a-z ]+ +"+test.want+"$").Match(out) {
				t.Errorf("doctor: %v, want %s:\n%s", err, test.want, out)
			}
		})
	}
	t.Run("another range", func(t *testing.T) {
		if out, err := m.command("", run).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		const want = `error: cannot use the cache .*: its layers were made with other subordinate ids \(users .*\) than there are now \(users .*\); choose another cache with --cache, or remove it as root`
		out, err := m.command(ranges("$name:3000000:65536"), run).CombinedOutput()
		if err == nil || !regexp.MustCompile(want).Match(out) {
			t.Errorf("%v, want %s:\n%s", err, want, out)
		}
	})
}
