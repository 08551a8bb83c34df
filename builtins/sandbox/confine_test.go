package sandbox_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/sandbox"
)

// What a script cannot do to the host, or to the process that started it. Each of these
// was a way out.
func TestAScriptCannot(t *testing.T) {
	tests := []struct {
		summary string
		script  string
	}{
		{"see where the files of its first process lead", "readlink /proc/1/fd/3"},
		{"forge its answer", "for fd in 3 4 5 6 7 8 9; do echo forged >/proc/1/fd/$fd; done"},
		{"see the root of its first process", "ls /proc/1/root/"},
		{"read the program of its first process", "cat /proc/1/exe >/dev/null"},
		{"make a node of a disk", "mknod /dev/disk b 259 0"},
		{"make one outside of /dev", "mknod /disk b 8 0"},
		{"make a node of the kernel's log", "mknod /dev/kmsg c 1 11"},
		{"make a node of its memory", "mknod /dev/mem c 1 1"},
		{"read a node that the image has", "cat /etc/kmsg"},
		{"make the kernel's settings writable", "mount -o remount,bind,rw /proc/sys && echo 1 >/proc/sys/vm/swappiness"},
		{"uncover them", "umount /proc/sys; umount -l /proc/sys; write /proc/sys"},
		{"move away what covers them", "mkdir /d; mount --move /proc/sys /d; write /proc/sys"},
		{"find them in a /proc of its own", "mkdir /d; mount -t proc none /d && write /d/sys"},
		{"nor uncover them there", "mkdir /d; mount -t proc none /d && umount /d/sys; write /d/sys"},
		{"in one for processes of its own", "mkdir /d; unshare -p -f mount -t proc none /d && write /d/sys"},
		{"in one for mounts of its own", "mkdir /d; unshare -m sh -c 'mount -t proc none /d; umount -l /d/sys; write /d/sys'"},
		{"in one that is shown elsewhere", "mkdir /d; mount --bind /proc /d && umount -l /d/sys; write /d/sys"},
		{"in one that is no longer mounted", "mkdir /d; mount -t proc none /d; cd /d && umount -l /d; write ./sys"},
		{"in one whose mounts are gone", "mkdir /d; mount -t proc none /d; unshare -m sh -c 'cd /d; exec sleep 1' & sleep 0.2; cd /proc/$!/cwd && wait; write ./sys"},
		{"find them where its first process is", "nsenter --mount=/proc/self/ns/mnt /rootfs/bin/busybox sh /rootfs/bin/write /proc/sys"},
		{"mount a disk of the host by what it is to whom mounts for it", "mkdir /d; for d in vda vda1 sda sda1 nvme0n1p1; do mount -t ext4 /proc/self/root/dev/$d /d && exit; done; false"},
		{"nor its files", "mkdir /d; mount -t overlay -o lowerdir=/proc/self/root/etc:/tmp none /d && cat /d/passwd"},
		{"make the settings of devices writable", "mkdir /d; mount -t sysfs none /d; mount -o remount,rw /d; grep ' /d ' /proc/mounts | grep -v ' ro,'"},
		{"say what handles the host's interrupts", "cd /proc/irq && v=$(cat default_smp_affinity) && echo $v >default_smp_affinity"},
		{"set up its devices", "for f in /proc/bus/pci/*/*; do : >>$f && exit; done; false"},
		{"do so by a mount that is read-only", "mount -o bind /etc /etc && mount -o remount,bind,ro,dev /etc && cat /etc/kmsg"},
		{"set the clock", "date -s 2020-01-01; [ $(date +%Y) = 2020 ]"},
		{"read the kernel's log", "dmesg"},
		{"set up interfaces of the host", "ip link add x type dummy"},
		{"load a module", "insmod /bin/busybox"},
		{"raise its priority", "nice -n -5 true"},
		{"find the host's devices", "mkdir /d; mount -t devtmpfs none /d"},
		{"find the host's control groups", "mkdir /d; mount -t cgroup -o pids none /d"},
		{"nor by another way", "mkdir /d; mount -t cgroup2 none /d"},
		{"register programs with the kernel", "mkdir /d; mount -t binfmt_misc none /d"},
		{"trace the kernel", "mkdir /d; mount -t tracefs none /d || mount -t debugfs none /d"},
		{"fill the memory with files", `mem=$(awk '/^MemTotal/ {print $2}' /proc/meminfo)
more() { # than that percentage, any, or what cannot be told
	limit=$((${mem:-0}*$2/100))
	set -- $(stat -f -c '%b %S' $1)
	size=$((${1:-0}*${2:-0}/1024))
	! { [ $size -gt 0 ] && [ $size -le $limit ]; }
}
more /tmp 51 || more /run 21 || more /dev/shm 21`},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			stack := newStack(t)
			if err := unix.Mknod(stack.Lower[0]+"/etc/kmsg", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 11))); err != nil {
				t.Fatal(err)
			}
			writer := "#!/bin/sh\nv=$(cat $1/vm/swappiness) && echo $v >$1/vm/swappiness\n"
			if err := os.WriteFile(stack.Lower[0]+"/bin/write", []byte(writer), 0o755); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			programs := script("if busybox sh -c '" + strings.ReplaceAll(test.script, "'", "'\\''") + "'; then echo it could; fi")
			if err := sandbox.Run(context.Background(), sandbox.Spec{Root: stack}, programs, &out); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			if strings.Contains(out.String(), "it could") {
				t.Errorf("it could:\n%s", &out)
			}
		})
	}
}

// The network may be the host's, but not the sockets that have a name in it and no file.
func TestAbstractSockets(t *testing.T) {
	const version = 1
	if abi, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, version); int(abi) < 6 {
		t.Skip("the kernel has no Landlock of version 6, which came with Linux 6.12")
	}
	name := "@imagebuilder-test-" + rand.Text()
	listener, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		summary, name, want string
	}{{"one of the host", name, "refused\n"}, {"one of its own", "", "connected\n"}} {
		t.Run(test.summary, func(t *testing.T) {
			newStack(t) // skips where there are no sandboxes
			dir := t.TempDir()
			var out bytes.Buffer
			spec := sandbox.Spec{Mounts: []sandbox.Mount{{At: "/tmp/connect", Source: exe}, {At: "/tmp/rootfs", Source: dir}}}
			programs := sandbox.Programs{List: []sandbox.Program{{Args: []string{"/tmp/connect"}}}, Env: []string{"SANDBOX_TEST_CONNECT=" + cmp.Or(test.name, "own")}}
			if err := sandbox.Run(context.Background(), spec, programs, &out); err != nil || out.String() != test.want {
				t.Errorf("got %q, %v, want %q", &out, err, test.want)
			}
		})
	}
}

// connect tells whether an abstract socket can be reached; "own" is one that it makes.
func connect(name string) {
	if name == "own" {
		name = "@imagebuilder-test-" + rand.Text()
		if _, err := net.Listen("unix", name); err != nil {
			fmt.Println(err)
		}
	}
	if _, err := net.Dial("unix", name); err != nil {
		fmt.Println("refused")
	} else {
		fmt.Println("connected")
	}
	os.Exit(0)
}

// Nor those that have a name in the host's tree, by which services of the host do what root says.
func TestSocketsOfTheHost(t *testing.T) {
	newStack(t)                                            // skips where there are no sandboxes
	dir, err := os.MkdirTemp("/run", "imagebuilder-test-") // not below /tmp, which is another there
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := dir + "/socket"
	listener, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	spec := sandbox.Spec{NoNet: true, Mounts: []sandbox.Mount{{At: "/tmp/connect", Source: exe}, {At: "/tmp/rootfs", Source: t.TempDir()}}}
	programs := sandbox.Programs{Env: []string{"PATH=" + os.Getenv("PATH"), "SANDBOX_TEST_CONNECT=" + name}, List: []sandbox.Program{{Args: []string{"sh", "-c",
		"/tmp/connect; umount " + name + " 2>/dev/null; /tmp/connect; mkdir /tmp/d; mount --bind " + dir + " /tmp/d; SANDBOX_TEST_CONNECT=/tmp/d/socket /tmp/connect"}}}}
	const want = "refused\nrefused\nrefused\n"
	if err := sandbox.Run(context.Background(), spec, programs, &out); err != nil || out.String() != want {
		t.Errorf("got %q, %v, want %q", &out, err, want)
	}
}

// checkOwn has this program do, beside a root file system, what a variable says, and compares what it
// prints.
func checkOwn(t *testing.T, variable, want string) {
	t.Helper()
	newStack(t) // skips where there are no sandboxes
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	spec := sandbox.Spec{Mounts: []sandbox.Mount{{At: "/tmp/own", Source: exe}, {At: "/tmp/rootfs", Source: t.TempDir()}}}
	programs := sandbox.Programs{List: []sandbox.Program{{Args: []string{"/tmp/own"}}}, Env: []string{variable + "=yes"}}
	if err := sandbox.Run(context.Background(), spec, programs, &out); err != nil || out.String() != want {
		t.Errorf("got %q, %v, want %q", &out, err, want)
	}
}

// mount(8) of util-linux 2.39 and later falls back on mount(2) where the kernel does not know
// calls that change mounts, and nowhere else.
func TestCallsThatChangeMountsAreUnknown(t *testing.T) {
	const want = "mount_setattr: function not implemented\nopen_tree_attr: function not implemented\n" +
		"fspick: function not implemented\nfsopen: function not implemented\nmount: errno 0\n9p: operation not permitted\n"
	checkOwn(t, "SANDBOX_TEST_MOUNT", want)
}

// mountAnew makes the calls that mount --make-rprivate / may be, and says what they answer.
func mountAnew() {
	for _, call := range []struct {
		name string
		nr   uintptr
	}{{"mount_setattr", unix.SYS_MOUNT_SETATTR}, {"open_tree_attr", 467}, {"fspick", unix.SYS_FSPICK}, {"fsopen", unix.SYS_FSOPEN}} {
		_, _, errno := unix.Syscall6(call.nr, ^uintptr(0), 0, 0, 0, 0, 0)
		fmt.Printf("%s: %v\n", call.name, errno)
	}
	errno, _ := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "").(unix.Errno)
	fmt.Printf("mount: %v\n", errno)
	fmt.Printf("9p: %v\n", unix.Mount("share", "/tmp", "9p", 0, "trans=virtio")) // what a hypervisor shares
	os.Exit(0)
}

// What builds do with file systems of the kernel works as it does elsewhere.
func TestAScriptCanMount(t *testing.T) {
	tests := []struct {
		summary string
		script  string
		want    string
	}{
		{"a /proc, for a while", "mount -t proc none /d; ls -d /d/self/status; umount /d; ls /d", "/d/self/status\n"},
		{"one that is read-only", "mount -t proc -o ro,hidepid=2 none /d; grep -c ' /d proc ro,.*hidepid=' /proc/mounts", "1\n"},
		{"the /proc there is at another place", "mount --bind /proc /d; ls -d /d/self/status; umount /d; ls /d", "/d/self/status\n"},
		{"a directory with all below it, and take it away piece by piece",
			"mount --rbind / /d; ls -d /d/proc/self/status; for m in $(cut -d' ' -f2 /proc/mounts | grep -E '^/d(/|$)' | sort -r); do umount $m || umount -l $m; done; ls /d", "/d/proc/self/status\n"},
		{"a /sys", "mount -t sysfs none /d; ls -d /d/kernel; umount /d; ls /d", "/d/kernel\n"},
		{"a tmpfs, by a path in its directory", "cd /d; mkdir e; mount -t tmpfs -o size=1m none e; echo x >e/x; umount e; ls e", ""},
		{"through a file that it has open", "exec 9</d; mount -t tmpfs none /proc/self/fd/9; grep -c ' /d ' /proc/mounts", "1\n"},
		{"a directory, and make it read-only", "mkdir /a; mount -o bind /a /d; mount -o remount,bind,ro /d; touch /d/x 2>/dev/null || echo no; umount /d; touch /d/x", "no\n"},
		{"a /proc for processes of its own", "unshare -p -f -m sh -c 'mount -t proc none /proc; cat /proc/1/comm; true'", "sh\n"},
		{"in a root of its own", "mkdir -p /d/bin /d/proc; cp /bin/busybox /d/bin; chroot /d /bin/busybox mount -t proc none /proc; ls -d /d/proc/self/status", "/d/proc/self/status\n"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			stack := newStack(t)
			var out bytes.Buffer
			programs := script("mkdir /d; exec busybox sh -e -c '" + strings.ReplaceAll(test.script, "'", "'\\''") + "'")
			if err := sandbox.Run(context.Background(), sandbox.Spec{Root: stack}, programs, &out); err != nil || out.String() != test.want {
				t.Errorf("got %q, %v, want %q", &out, err, test.want)
			}
		})
	}
}

// Who can make a node of any device can open none, wherever it is.
func TestNodesOfAnyDeviceCannotBeOpened(t *testing.T) {
	var out bytes.Buffer
	spec := sandbox.Spec{AnyNode: true, Mounts: []sandbox.Mount{{At: sandbox.RootfsDir, Stack: newStack(t)}}}
	programs := sandbox.Programs{Env: []string{"PATH=" + os.Getenv("PATH")}, List: []sandbox.Program{{Args: []string{"sh", "-c", `
		mknod /tmp/rootfs/disk b 254 0 && echo made
		mkdir /tmp/own; mount -t tmpfs none /tmp/own && mknod /tmp/own/null c 1 3 && cat /tmp/own/null && echo own
		for d in /dev /dev/shm /tmp /var/tmp /tmp/rootfs; do
			mknod $d/mine c 1 3 && cat $d/mine && echo $d
		done
		cat /dev/null && echo null`}}}}
	const want = "made\nnull\n"
	var said bytes.Buffer
	if err := sandbox.Attach(context.Background(), spec, programs, sandbox.Streams{Out: &out, Err: &said}); err != nil || out.String() != want {
		t.Errorf("got %q, %v, want %q\n%s", &out, err, want, &said)
	}
}

// So does a /proc of a user namespace, which programs that are in no chroot can make.
func TestAHostProgramCanMountInItsOwnUserNamespace(t *testing.T) {
	newStack(t) // skips where there are no sandboxes
	var out bytes.Buffer
	spec := sandbox.Spec{Mounts: []sandbox.Mount{{At: sandbox.RootfsDir, Source: t.TempDir()}}}
	programs := sandbox.Programs{Env: []string{"PATH=" + os.Getenv("PATH")}, List: []sandbox.Program{{
		Args: []string{"unshare", "-U", "-r", "-p", "-f", "-m", "sh", "-c", "mount -t proc none /proc && cat /proc/1/comm; umount -l /proc/sys; echo 60 >/proc/sys/vm/swappiness || echo no"},
	}}}
	const want = "sh\n"
	if err := sandbox.Run(context.Background(), spec, programs, &out); err != nil || !strings.HasPrefix(out.String(), want) || !strings.HasSuffix(out.String(), "no\n") {
		t.Errorf("got %q, %v", &out, err)
	}
}

// What a program has mounted is what it had called for when that was judged, and old programs, which
// mark the flags, are judged as others are.
func TestMountsAreJudgedAsCalled(t *testing.T) {
	const want = "old flags: read-only\nother type: read-only\n"
	checkOwn(t, "SANDBOX_TEST_RACE", want)
}

// race mounts a /proc as old programs do, and by a call whose file system another thread changes all
// the time, and says whether one of them has settings that can be changed.
func race() {
	const at, old = "/tmp/at", 0xC0ED0000
	if err := os.Mkdir(at, 0o755); err != nil {
		fmt.Println(err)
	}
	settings := func() string {
		var st unix.Statfs_t
		err := unix.Statfs(at+"/sys", &st)
		unix.Unmount(at, unix.MNT_DETACH)
		if err == nil && st.Type == unix.PROC_SUPER_MAGIC && st.Flags&unix.ST_RDONLY == 0 {
			return "writable"
		}
		return "read-only"
	}
	if err := unix.Mount("none", at, "proc", old, ""); err != nil {
		fmt.Println(err)
	}
	fmt.Println("old flags:", settings())

	name, target := []byte("tmpfs\x00"), []byte(at+"\x00")
	go func() {
		for {
			copy(name, "proc\x00")
			copy(name, "tmpfs")
		}
	}()
	found := "read-only"
	for range 40 {
		_, _, errno := unix.Syscall6(unix.SYS_MOUNT, uintptr(unsafe.Pointer(&target[0])), uintptr(unsafe.Pointer(&target[0])), uintptr(unsafe.Pointer(&name[0])), 0, 0, 0)
		if errno == 0 && settings() == "writable" {
			found = "writable"
		}
	}
	fmt.Println("other type:", found)
	os.Exit(0)
}

// Calls that are for those who administer a machine reach beyond the namespaces of a step: typing
// into its console, and being given files that it opens, open for writing.
func TestCallsThatReachTheHostAreRefused(t *testing.T) {
	const want = "TIOCSTI: operation not permitted\nTIOCLINUX: operation not permitted\nTIOCCONS: operation not permitted\n" +
		"TCGETS: bad file descriptor\nfanotify_init: operation not permitted\n"
	checkOwn(t, "SANDBOX_TEST_REACH", want)
}

// reachHost makes such calls, none of which would do anything, and says what they answer.
func reachHost() {
	for _, request := range []struct {
		name string
		nr   uintptr
	}{{"TIOCSTI", unix.TIOCSTI}, {"TIOCLINUX", unix.TIOCLINUX}, {"TIOCCONS", unix.TIOCCONS}, {"TCGETS", unix.TCGETS}} {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, ^uintptr(0), request.nr, 0)
		fmt.Printf("%s: %v\n", request.name, errno)
	}
	_, err := unix.FanotifyInit(^uint(0), 0)
	fmt.Printf("fanotify_init: %v\n", err)
	os.Exit(0)
}

// The number of processes is bounded where kernels bound it for each namespace.
func TestProcessesAreLimited(t *testing.T) {
	stack := newStack(t)
	before, err := os.ReadFile("/proc/sys/kernel/pid_max")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := sandbox.Run(context.Background(), sandbox.Spec{Root: stack}, script("cat /proc/sys/kernel/pid_max"), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	var major, minor int
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	fmt.Sscanf(string(release), "%d.%d", &major, &minor)
	want := string(before)
	if major > 6 || major == 6 && minor >= 14 {
		want = "8192\n"
	}
	if out.String() != want {
		t.Errorf("inside: %q, want %q", &out, want)
	}
	if after, err := os.ReadFile("/proc/sys/kernel/pid_max"); err != nil || string(after) != string(before) {
		t.Errorf("outside: %q became %q", before, after)
	}
}

// The same beside a root file system, where programs of the host run as root.
func TestAHostProgramCannot(t *testing.T) {
	tests := []struct {
		summary string
		script  string
	}{
		{"write to the host", "touch /etc/leak"},
		{"make the host writable", "mount -o remount,rw / && touch /etc/leak"},
		{"make a mount of the host writable", "mount -o remount,bind,rw / && touch /etc/leak"},
		{"find a disk of the host", "ls /dev | grep -E '^(vd|sd|nvme|loop|dm|mapper)'"},
		{"make a node of a disk", "mknod /tmp/rootfs/disk b 259 0"},
		{"open a node that the image has", "cat /tmp/rootfs/etc/null"},
		{"nor from within the root file system", "chroot /tmp/rootfs /bin/cat /etc/null"},
		{"see the root of its first process", "ls /proc/1/root/"},
		{"do so from within the root file system", "chroot /tmp/rootfs /bin/ls /proc/1/root/"},
		{"mount the host's devices", "mount -t devtmpfs none /tmp"},
		{"mount its control groups", "mount -t cgroup2 none /tmp"},
		{"find the host's processes", "umount -l /proc && ls -d /proc/[1-9]*"},
		{"find its settings", "mount -t proc none /mnt && v=$(cat /mnt/sys/vm/swappiness) && umount -l /mnt/sys; echo $v >/mnt/sys/vm/swappiness"},
		{"use its devices", "umount -l /dev && echo >/dev/null"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			stack := newStack(t)
			if err := unix.Mknod(stack.Lower[0]+"/etc/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			spec := sandbox.Spec{Mounts: []sandbox.Mount{{At: sandbox.RootfsDir, Stack: stack}}}
			programs := sandbox.Programs{Env: []string{"PATH=" + os.Getenv("PATH")}, List: []sandbox.Program{{
				Args: []string{"sh", "-c", "if (" + test.script + ") 2>&1; then echo it could; fi"},
			}}}
			if err := sandbox.Run(context.Background(), spec, programs, &out); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			if strings.Contains(out.String(), "it could") {
				t.Errorf("it could:\n%s", &out)
			}
		})
	}
}
