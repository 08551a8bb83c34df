package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/magic"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
)

func TestMain(m *testing.M) {
	if code, ok := sandbox.Main(touch); ok {
		os.Exit(code)
	}
	if name := os.Getenv("SANDBOX_TEST_CONNECT"); name != "" {
		connect(name)
	}
	if os.Getenv("SANDBOX_TEST_REACH") != "" {
		reachHost()
	}
	if os.Getenv("SANDBOX_TEST_RACE") != "" {
		race()
	}
	if os.Getenv("SANDBOX_TEST_MOUNT") != "" {
		mountAnew()
	}
	if base, marker, ok := strings.Cut(os.Getenv("SANDBOX_TEST_PARENT"), ":"); ok {
		parent(base, marker)
	}
	os.Exit(m.Run())
}

// touch is a task that uses all that tasks get: it makes a file of the name in each root
// file system and in each file that is a directory, and says how many these are.
var touch = sandbox.NewTask("touch", func(_ context.Context, in *sandbox.Inside, name string) (int, error) {
	roots := slices.Clone(in.Roots)
	for _, dir := range in.Files {
		roots = append(roots, dirfd.New(dir, dirfd.InRoot))
	}
	for _, root := range roots {
		w, err := root.Create(name, 0o600)
		if err != nil {
			return 0, err
		}
		w.Close()
	}
	return len(roots), nil
})

// newStack makes a root file system around busybox and skips the test where
// there is no busybox or no root.
func newStack(t *testing.T) *sandbox.Stack {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: namespaces and mounts")
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs /bin/busybox (Debian package busybox-static)")
	}
	dir := t.TempDir()
	base := filepath.Join(dir, "base")
	for _, d := range []string{"base/bin", "base/etc", "base/usr/sbin", "base/tmp", "upper", "work", "mnt"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(base, "bin/busybox"), busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, applet := range strings.Fields("sh cat echo ls sleep mount umount mv ln rm hostname id env sort stat sync dd touch mkdir ps kill setsid readlink grep") {
		if err := os.Symlink("busybox", filepath.Join(base, "bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	return &sandbox.Stack{
		Lower: []string{base},
		Upper: filepath.Join(dir, "upper"),
		Work:  filepath.Join(dir, "work"),
		Point: filepath.Join(dir, "mnt"),
	}
}

func script(text string) sandbox.Programs {
	return sandbox.Programs{
		List: []sandbox.Program{{Script: "#!/bin/sh\nset -e\n" + text}},
		Env:  []string{"PATH=/bin", "LANG=C"},
	}
}

// guests are files as builds lay them over a root file system.
var guests = []sandbox.Guest{
	{Path: "/etc/resolv.conf", Content: []byte("nameserver 192.0.2.1\n"), Mode: 0o644, Over: true},
	{Path: "/usr/sbin/policy-rc.d", Content: []byte("#!/bin/sh\nexit 101\n"), Mode: 0o755},
}

// merged copies what a stack shows after a step, and lists it.
func merged(t *testing.T, stack *sandbox.Stack) string {
	t.Helper()
	seen := *stack
	seen.Lower, seen.Upper = append(seen.Lower[:len(seen.Lower):len(seen.Lower)], seen.Upper), ""
	to := t.TempDir()
	script := sandbox.Programs{List: []sandbox.Program{{Args: []string{"cp", "-a", "/tmp/rootfs/.", "/tmp/to"}}}, Env: []string{"PATH=" + os.Getenv("PATH")}}
	spec := sandbox.Spec{Mounts: []sandbox.Mount{{At: "/tmp/rootfs", Stack: &seen}, {At: "/tmp/to", Source: to, Writable: true}}}
	if err := sandbox.Run(context.Background(), spec, script, io.Discard); err != nil {
		t.Fatal(err)
	}
	return dump(t, to)
}

// dump lists what the step left in its layer.
func dump(t *testing.T, dir string) string {
	t.Helper()
	root, err := dirfd.Open(dir, dirfd.InRoot)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var b bytes.Buffer
	if err := tree.Dump(&b, root); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestChroot(t *testing.T) {
	tests := []struct {
		summary string
		script  string
		out     string
	}{{
		summary: "the host name is the one the hosts generator looks for",
		script:  "hostname",
		out:     "lxd-imagebuilder\n",
	}, {
		summary: "the environment is what the step says and nothing else",
		script:  "env -u PWD -u SHLVL -u OLDPWD | sort",
		out:     "LANG=C\nPATH=/bin\n",
	}, {
		summary: "the devices are there with their modes",
		script:  "cd /dev; stat -c '%n %a %t:%T' console full null random tty urandom zero; readlink stdin; stat -c %a shm",
		out: "console 640 5:1\nfull 666 1:7\nnull 666 1:3\nrandom 666 1:8\ntty 666 5:0\nurandom 666 1:9\nzero 666 1:5\n" +
			"/proc/self/fd/0\n1777\n",
	}, {
		summary: "standard input is empty",
		script:  "cat; echo end",
		out:     "end\n",
	}, {
		summary: "a script can look below what is mounted, as definitions do to clean /run",
		script:  "mkdir /mnt; mount -o bind / /mnt; touch /run/hidden /mnt/run/seen; ls /mnt/run /run; umount /mnt",
		out:     "/mnt/run:\nseen\n\n/run:\nhidden\n",
	}, {
		summary: "services are denied",
		script:  "cat /usr/sbin/policy-rc.d",
		out:     "#!/bin/sh\nexit 101\n",
	}, {
		summary: "the kernel's settings are the host's",
		script:  "for f in /proc/sys/vm/swappiness /sys/kernel/uevent_helper; do if [ -e $f ] && echo 1 2>/dev/null >$f; then echo changed $f; fi; done; exit 0",
	}, {
		summary: "the host is nowhere to be seen",
		script:  "ls /proc/1/root 2>/dev/null || echo none; mkdir -p /x; cat /proc/mounts | grep -c ' /host' || true",
		out:     "none\n0\n",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			var out bytes.Buffer
			spec := sandbox.Spec{Root: newStack(t), Guests: guests, NoSync: true}
			if err := sandbox.Run(context.Background(), spec, script(test.script), &out); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			if out.String() != test.out {
				t.Errorf("got:\n%s\nwant:\n%s", &out, test.out)
			}
		})
	}
}

func TestGuests(t *testing.T) {
	tests := []struct {
		summary string
		image   func(etc string) error
		script  string
		want    string // the line of /etc/resolv.conf in the dump of the result
	}{{
		summary: "absent stays absent",
		image:   func(string) error { return nil },
		script:  "cat /etc/resolv.conf",
		want:    "",
	}, {
		summary: "content and mode stay",
		image:   func(etc string) error { return os.WriteFile(etc+"/resolv.conf", []byte("x\n"), 0o600) },
		script:  "cat /etc/resolv.conf",
		want:    "/etc/resolv.conf file 0600 0:0 2 73cb3858a687\n",
	}, {
		summary: "a link into /run stays, and is provided for",
		image:   func(etc string) error { return os.Symlink("../run/systemd/resolve/stub.conf", etc+"/resolv.conf") },
		script:  "cat /etc/resolv.conf",
		want:    "/etc/resolv.conf link 0777 0:0 ../run/systemd/resolve/stub.conf\n",
	}, {
		summary: "a dangling link elsewhere leaves nothing behind",
		image:   func(etc string) error { return os.Symlink("/var/lib/none/resolv.conf", etc+"/resolv.conf") },
		script:  "cat /etc/resolv.conf",
		want:    "/etc/resolv.conf link 0777 0:0 /var/lib/none/resolv.conf\n",
	}, {
		summary: "links to directories that are not there are followed, as resolvconf has them",
		image: func(etc string) error {
			return errors.Join(os.Mkdir(etc+"/resolvconf", 0o755), os.Symlink("/run/resolvconf", etc+"/resolvconf/run"),
				os.Symlink("resolvconf/run/resolv.conf", etc+"/resolv.conf"))
		},
		script: "cat /run/resolvconf/resolv.conf",
		want:   "/etc/resolv.conf link 0777 0:0 resolvconf/run/resolv.conf\n",
	}, {
		summary: "a link to itself stays, and is provided for",
		image:   func(etc string) error { return os.Symlink("resolv.conf", etc+"/resolv.conf") },
		script:  "cat /etc/resolv.conf",
		want:    "/etc/resolv.conf link 0777 0:0 resolv.conf\n",
	}, {
		summary: "a step may put a link in its place, whether it tries to unmount it or not",
		image:   func(etc string) error { return os.WriteFile(etc+"/resolv.conf", []byte("x\n"), 0o600) },
		script:  "umount -l /etc/resolv.conf || true; ln -s /run/mine /etc/new; mv /etc/new /etc/resolv.conf",
		want:    "/etc/resolv.conf link 0777 0:0 /run/mine\n",
	}, {
		summary: "a step may keep the host's",
		image:   func(string) error { return nil },
		script:  "cat /etc/resolv.conf > /tmp/r; echo kept > /tmp/r; mv /tmp/r /etc/resolv.conf",
		want:    "/etc/resolv.conf file 0644 0:0 5 ",
	}, {
		summary: "a step may remove it",
		image:   func(etc string) error { return os.WriteFile(etc+"/resolv.conf", []byte("x\n"), 0o600) },
		script:  "rm /etc/resolv.conf",
		want:    "",
	}, {
		summary: "a step may write to it",
		image:   func(etc string) error { return os.WriteFile(etc+"/resolv.conf", []byte("x\n"), 0o600) },
		script:  "echo more >> /etc/resolv.conf",
		want:    "/etc/resolv.conf file 0644 0:0 26 ",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			stack := newStack(t)
			if err := test.image(stack.Lower[0] + "/etc"); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := sandbox.Run(context.Background(), sandbox.Spec{Root: stack, Guests: guests}, script(test.script), &out); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			got := merged(t, stack)
			_, line, _ := strings.Cut(got, "/etc/resolv.conf ")
			if line != "" {
				line, _, _ = strings.Cut("/etc/resolv.conf "+line, "\n")
				line += "\n"
			}
			if !strings.HasPrefix(line, test.want) || test.want == "" && line != "" {
				t.Errorf("got %q, want %q", line, test.want)
			}
			if strings.Contains(got, "policy-rc.d") || strings.Contains(got, "\n/var") || strings.Contains(got, "\n/proc/") {
				t.Errorf("something was left behind:\n%s", got)
			}
		})
	}
}

func TestPlainDirectoryGivesTheSame(t *testing.T) {
	stack := newStack(t)
	programs := script("echo a > /etc/a; rm /bin/dd; mkdir -p /d/e; ln /etc/a /d/hard")
	if err := sandbox.Run(context.Background(), sandbox.Spec{Root: stack}, programs, io.Discard); err != nil {
		t.Fatal(err)
	}
	overlay := merged(t, stack)
	plain := &sandbox.Stack{Dir: stack.Lower[0], Point: stack.Point}
	if err := sandbox.Run(context.Background(), sandbox.Spec{Root: plain}, programs, io.Discard); err != nil {
		t.Fatal(err)
	}
	if want := dump(t, stack.Lower[0]); overlay != want {
		t.Errorf("overlay:\n%s\nplain:\n%s", overlay, want)
	}
}

func TestFailure(t *testing.T) {
	tests := []struct {
		summary string
		program sandbox.Program
		err     string
		output  string
	}{{
		summary: "a failing script reports its status and its last lines",
		program: sandbox.Program{Script: "#!/bin/sh\necho one; echo two >&2; exit 7\n"},
		err:     `script: exit status 7`,
		output:  "one\ntwo",
	}, {
		summary: "a script that is killed says by what",
		program: sandbox.Program{Script: "#!/bin/sh\nkill -9 $$\n"},
		err:     `script: signal: killed`,
	}, {
		summary: "an interpreter the image lacks",
		program: sandbox.Program{Script: "#!/bin/bash\n"},
		err:     `cannot run the script: its interpreter /bin/bash is not in the image: open /bin/bash: no such file or directory`,
	}, {
		summary: "a program the image lacks",
		program: sandbox.Program{Args: []string{"apt-get", "update"}},
		err:     `cannot run apt-get: there is no such program in /bin`,
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			programs := sandbox.Programs{List: []sandbox.Program{test.program}, Env: []string{"PATH=/bin"}}
			err := sandbox.Run(context.Background(), sandbox.Spec{Root: newStack(t)}, programs, io.Discard)
			if err == nil || err.Error() != test.err {
				t.Fatalf("got %v, want %s", err, test.err)
			}
			var exit *host.ExitError
			if errors.As(err, &exit) && exit.Output != test.output {
				t.Errorf("output %q, want %q", exit.Output, test.output)
			}
		})
	}
}

// What is made for another machine is told by that.
func TestForeignProgram(t *testing.T) {
	header, cut := foreign(), "\x7fELF"
	if native := magic.Programs(host.Machine()); len(native) > 0 {
		cut = string(native[0][:40])
	}
	const because = "exec format error: /bin/foreign is a program for aarch64; " + host.Emulators
	for _, test := range []struct {
		program sandbox.Program
		want    string
	}{
		{sandbox.Program{Args: []string{"foreign"}}, "cannot run foreign: " + because},
		{sandbox.Program{Args: []string{"/bin/script", "x"}}, "cannot run /bin/script: " + because},
		{sandbox.Program{Script: "#!/bin/foreign -e\n"}, "cannot run script: " + because},
		{sandbox.Program{Args: []string{"text"}}, "cannot run text: exec format error"},
		{sandbox.Program{Args: []string{"cut"}}, "cannot run cut: exec format error: /bin/cut is a program for this machine, but damaged"},
	} {
		stack := newStack(t)
		for name, content := range map[string]string{"foreign": header, "script": "#!/bin/foreign\n", "text": "no program\n", "cut": cut} {
			if err := os.WriteFile(filepath.Join(stack.Lower[0], "bin", name), []byte(content), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		programs := sandbox.Programs{List: []sandbox.Program{test.program}, Env: []string{"PATH=/bin"}}
		err := sandbox.Run(context.Background(), sandbox.Spec{Root: stack}, programs, io.Discard)
		if err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}

// foreign is how a program for aarch64 with 32 bits begins: there are none, so that not even
// an emulator takes it.
func foreign() string { return string(magic.Programs("aarch64")[0]) }

// So is what programs of the host start in a root file system beside them.
func TestForeignBeside(t *testing.T) {
	native, other := newStack(t), newStack(t)
	if err := os.WriteFile(filepath.Join(other.Lower[0], "bin/sh"), []byte(foreign()), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		stack *sandbox.Stack
		want  string
	}{
		{native, "chroot /tmp/rootfs /none: exit status 127"},
		{other, "chroot /tmp/rootfs /none: exit status 127; in /tmp/rootfs: cannot run sh: exec format error: " +
			"/bin/sh is a program for aarch64; " + host.Emulators},
	} {
		spec := sandbox.Spec{Mounts: []sandbox.Mount{{At: sandbox.RootfsDir, Stack: test.stack}}}
		programs := sandbox.Programs{List: []sandbox.Program{{Args: []string{"chroot", sandbox.RootfsDir, "/none"}}}, Env: os.Environ()}
		if err := sandbox.Run(context.Background(), spec, programs, io.Discard); err == nil || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
}

func TestNothingOutlivesAStep(t *testing.T) {
	marker := fmt.Sprint(100000 + os.Getpid())
	programs := script("setsid sleep " + marker + " >/dev/null 2>&1 &")
	if err := sandbox.Run(context.Background(), sandbox.Spec{Root: newStack(t)}, programs, io.Discard); err != nil {
		t.Fatal(err)
	}
	if running(marker) {
		t.Error("a daemon outlived its step")
	}
}

func running(marker string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if data, _ := os.ReadFile(f); bytes.Contains(data, []byte("\x00"+marker)) {
			return true
		}
	}
	return false
}

func TestCancel(t *testing.T) {
	tests := []struct {
		summary string
		script  string
		grace   time.Duration
		out     string
	}{{
		summary: "SIGTERM comes first",
		script:  "trap 'echo term; exit 0' TERM; echo ready; while :; do sleep 0.05; done",
		grace:   time.Minute,
		out:     "term\n",
	}, {
		summary: "what ignores it is killed after the grace period",
		script:  "trap '' TERM; echo ready; while :; do sleep 0.05; done",
		grace:   200 * time.Millisecond,
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			cause := errors.New("enough")
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			out := &notify{want: "ready\n", do: func() { cancel(cause) }}
			spec := sandbox.Spec{Root: newStack(t), Grace: test.grace}
			if err := sandbox.Run(ctx, spec, script(test.script), out); err != cause {
				t.Errorf("got %v, want the cause of the cancellation", err)
			}
			if !strings.HasSuffix(out.String(), test.out) {
				t.Errorf("got %q, want %q last", out.String(), test.out)
			}
		})
	}
}

// notify calls do once the wanted text has been written.
type notify struct {
	bytes.Buffer
	want string
	do   func()
}

func (n *notify) Write(p []byte) (int, error) {
	defer func() {
		if n.do != nil && strings.Contains(n.String(), n.want) {
			n.do()
			n.do = nil
		}
	}()
	return n.Buffer.Write(p)
}

func TestNetwork(t *testing.T) {
	var out bytes.Buffer
	spec := sandbox.Spec{Root: newStack(t), NoNet: true}
	if err := sandbox.Run(context.Background(), spec, script("ls /sys/class/net"), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != "lo\n" {
		t.Errorf("interfaces without a network: %q", &out)
	}
}

func TestHostTool(t *testing.T) {
	stack := newStack(t)
	in, outDir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(in+"/key", []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	spec := sandbox.Spec{Mounts: []sandbox.Mount{
		{At: sandbox.RootfsDir, Stack: stack},
		{At: sandbox.FilesDir + "/key", Source: in + "/key"},
		{At: sandbox.FilesDir + "/out", Source: outDir, Writable: true},
	}}
	programs := sandbox.Programs{Env: []string{"PATH=" + os.Getenv("PATH")}, List: []sandbox.Program{{Script: `#!/bin/sh
pwd; ls /tmp /var/tmp
cat /tmp/files/key
touch /tmp/rootfs/etc/made /tmp/files/out/result
touch /tmp/files/key 2>/dev/null || echo key is read-only
touch /etc/leak /usr/leak /run/leak 2>/dev/null || echo host is read-only
`}}}
	if err := sandbox.Run(context.Background(), spec, programs, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	want := "/tmp\n/tmp:\nfiles\nrootfs\n\n/var/tmp:\nsecret\nkey is read-only\nhost is read-only\n"
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", &out, want)
	}
	for _, f := range []string{stack.Upper + "/etc/made", outDir + "/result"} {
		if _, err := os.Stat(f); err != nil {
			t.Error(err)
		}
	}
}

// The programs of one root file system work on another.
func TestSideBySide(t *testing.T) {
	tools, target := newStack(t), newStack(t)
	var out bytes.Buffer
	spec := sandbox.Spec{Root: tools, Mounts: []sandbox.Mount{{At: sandbox.RootfsDir, Stack: target}}}
	programs := script("echo by the tools >/tmp/rootfs/etc/made; rm /tmp/rootfs/bin/dd; ls /bin/dd")
	if err := sandbox.Run(context.Background(), spec, programs, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	got := merged(t, target)
	if !strings.Contains(got, "/etc/made file") || strings.Contains(got, "/bin/dd") {
		t.Errorf("the target holds:\n%s", got)
	}
	if got := merged(t, tools); strings.Contains(got, "/etc/made") || strings.Contains(got, "/tmp/rootfs") {
		t.Errorf("the tools hold:\n%s", got)
	}
}

func TestHidden(t *testing.T) {
	newStack(t) // needs what all of them need
	var out bytes.Buffer
	spec := sandbox.Spec{Hidden: []string{"/etc/passwd", "/etc/apt", "/etc/none"}}
	programs := sandbox.Programs{Env: []string{"PATH=" + os.Getenv("PATH")}, List: []sandbox.Program{{
		Args: []string{"sh", "-c", "wc -c </etc/passwd; ls /etc/apt"},
	}}}
	if err := sandbox.Run(context.Background(), spec, programs, &out); err != nil || out.String() != "0\n" {
		t.Errorf("%v\n%s", err, &out)
	}
	if st, err := os.Stat("/etc/passwd"); err != nil || st.Size() == 0 {
		t.Error("the host's own file is empty")
	}
}

// Archives have device nodes of any kind: they can be made, but not opened.
func TestAnyNode(t *testing.T) {
	stack := newStack(t)
	var out bytes.Buffer
	spec := sandbox.Spec{AnyNode: true, Mounts: []sandbox.Mount{{At: sandbox.RootfsDir, Stack: stack}}}
	programs := sandbox.Programs{Env: []string{"PATH=" + os.Getenv("PATH")}, List: []sandbox.Program{{
		Args: []string{"sh", "-c", "mknod /tmp/rootfs/kmsg c 1 11 && mknod /tmp/rootfs/disk b 8 0 && if echo x >/tmp/rootfs/kmsg; then echo written; fi"},
	}}}
	if err := sandbox.Run(context.Background(), spec, programs, &out); err != nil || strings.Contains(out.String(), "written") {
		t.Fatalf("%v\n%s", err, &out)
	}
	if got := dump(t, stack.Upper); !strings.Contains(got, "/kmsg char 0644 0:0 1:11") || !strings.Contains(got, "/disk block 0644 0:0 8:0") {
		t.Errorf("the nodes are not there:\n%s", got)
	}
}

// A task is declared in one place and asked for in another; that is all there is to one.
func TestTask(t *testing.T) {
	one, two := newStack(t), newStack(t)
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	const name = "caf\xe9"
	n, err := touch.Run(context.Background(), []sandbox.Stack{*one, *two}, name, dir)
	if n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for _, place := range []string{one.Upper, two.Upper, dir.Name()} {
		if _, err := os.Lstat(filepath.Join(place, name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := touch.Run(context.Background(), []sandbox.Stack{{Dir: one.Upper, Point: one.Point}}, name); !errors.Is(err, os.ErrExist) {
		t.Errorf("the cause has not come through: %v", err)
	}
	if n, err := touch.Run(context.Background(), nil, name); n != 0 || err != nil {
		t.Errorf("a task of nothing: %d, %v", n, err)
	}
}

func TestDirectoriesOfLowerLayersCanBeRenamed(t *testing.T) {
	var out bytes.Buffer
	err := sandbox.Run(context.Background(), sandbox.Spec{Root: newStack(t)}, script("mv /usr/sbin /usr/moved && ls /usr"), &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
}

func TestSyncIsIgnored(t *testing.T) {
	// A file system that cannot sync answers fsync with an error; /proc is one.
	var out bytes.Buffer
	spec := sandbox.Spec{Root: newStack(t), NoSync: true}
	if err := sandbox.Run(context.Background(), spec, script("sync /proc/self/status && echo synced"), &out); err != nil || out.String() != "synced\n" {
		t.Errorf("with the filter: %v\n%s", err, &out)
	}
	spec = sandbox.Spec{Root: newStack(t)}
	if err := sandbox.Run(context.Background(), spec, script("sync /proc/self/status"), &out); err == nil {
		t.Error("without the filter: no error")
	}
}

func TestParentDeath(t *testing.T) {
	stack := newStack(t)
	marker := fmt.Sprint(200000 + os.Getpid())
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "SANDBOX_TEST_PARENT="+stack.Lower[0]+":"+marker)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	poll(t, "the step to start", func() bool { return running(marker) })
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
	poll(t, "the step to end with its parent", func() bool { return !running(marker) })
}

// parent runs a step that does not end by itself, until it is killed by TestParentDeath.
func parent(base, marker string) {
	stack := &sandbox.Stack{Dir: base, Point: filepath.Join(base, "../mnt")}
	sandbox.Run(context.Background(), sandbox.Spec{Root: stack}, script("trap '' TERM; sleep "+marker), os.Stderr)
	os.Exit(1)
}

func poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}
