package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
)

// TestCrash ends builds at random moments by each of the signals. Nothing may be left:
// no mount, no loop device, no process, no partial file; and the next build goes on
// from what was committed.
func TestCrash(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: builds")
	}
	for _, tool := range []string{"/bin/busybox", "/usr/bin/unsquashfs"} {
		if _, err := os.Stat(tool); err != nil {
			t.Skipf("needs %s (Debian packages busybox-static, squashfs-tools)", tool)
		}
	}
	library, err := os.ReadFile("../../testdata/recipes/busybox.star")
	if err != nil {
		t.Fatal(err)
	}
	disk := func(filesystem string) string {
		return `pack_lxd(disk(root, size = "320MiB", filesystem = "` + filesystem + `"), root.image, compression = "gzip-1")`
	}
	tests := []struct {
		summary string
		pack    string
		crashes int
		needs   []string
	}{
		{"a container", `pack_lxd(fork(root, "lxd"), root.image, compression = "gzip-1")`, 60, nil},
		{"a container by xz", `pack_lxd(fork(root, "lxd"), root.image)`, 30, []string{"xz"}},
		{"a disk", disk("ext4"), 30, []string{"sgdisk", "mkfs.vfat", "mcopy", "qemu-img"}},
		{"a disk of btrfs", disk("btrfs"), 15, []string{"sgdisk", "mkfs.vfat", "mcopy", "qemu-img", "mkfs.btrfs"}},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			for _, program := range test.needs {
				if !host.Installed(program) {
					t.Skip(host.Missing(program, ""))
				}
			}
			dir := t.TempDir()
			recipe := crashRecipe(test.pack)
			for name, text := range map[string]string{"busybox.star": string(library), "recipe.star": recipe} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			crash := crasher{t: t, dir: dir}
			crash.crashes(test.crashes)
		})
	}
}

func crashRecipe(pack string) string {
	return `load("busybox.star", "busybox")
def main():
    root = busybox()
    for i in range(8):
        chroot_run(root, "#!/bin/sh\necho %d >/etc/%d\nsleep 60 &\nsleep 0.02\n" % (i, i), network = False)
    ` + pack + "\n"
}

// Nor is anything left by a user, whose files another user has in the end.
func TestCrashRootless(t *testing.T) {
	m := newUserMachine(t, crashRecipe(`pack_lxd(fork(root, "lxd"), root.image, compression = "gzip-1")`))
	crash := crasher{t: t, dir: m.home(), as: &m}
	crash.crashes(9)
}

type crasher struct {
	t    *testing.T
	dir  string
	as   *userMachine // nil: root
	last string       // output of the last build
}

// crashes ends builds at random moments, and sees what is left.
func (c *crasher) crashes(n int) {
	whole := c.build()
	signals := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT}
	for i := range n {
		if i%6 == 0 { // from the beginning now and then
			os.RemoveAll(filepath.Join(c.dir, "cache"))
		}
		os.RemoveAll(filepath.Join(c.dir, "out"))
		c.kill(signals[i%3], rand.N(whole))
		c.check()
		c.checkResults()
	}
	os.RemoveAll(filepath.Join(c.dir, "out"))
	c.killAfterStep()
	c.build()
	if out := c.last; !strings.Contains(out, "cached") {
		c.t.Errorf("the last build reuses nothing:\n%s", out)
	}
	if left, err := os.ReadDir(filepath.Join(c.dir, "cache/staging")); err != nil || len(left) > 0 {
		c.t.Errorf("the last build has left in the cache %v, %v", left, err)
	}
}

func (c *crasher) command() (*exec.Cmd, *bytes.Buffer) {
	var cmd *exec.Cmd
	if c.as != nil {
		cmd = c.as.command("", `exec "$tool" run recipe.star out`)
	} else {
		exe, err := exec.LookPath("imagebuilder")
		if err != nil {
			c.t.Fatal(err)
		}
		cmd = exec.Command(exe, "run", "recipe.star", "out", "--cache", filepath.Join(c.dir, "cache"))
		cmd.Dir = c.dir
	}
	out := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Minute // check finds what is left, and holds the output open
	return cmd, out
}

// build runs a build to its end and returns how long it took.
func (c *crasher) build() time.Duration {
	c.t.Helper()
	start := time.Now()
	cmd, out := c.command()
	if err := cmd.Run(); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	c.last = out.String()
	return time.Since(start)
}

// kill ends a build some time after its start.
func (c *crasher) kill(sig syscall.Signal, after time.Duration) {
	cmd, out := c.command()
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { cmd.Process.Signal(sig) })
	defer timer.Stop()
	cmd.Wait()
	c.last = out.String()
}

// killAfterStep ends a build that starts from the beginning when it has committed a step: by
// chance alone the builds before may have committed none, on a machine that is now slower.
func (c *crasher) killAfterStep() {
	os.RemoveAll(filepath.Join(c.dir, "cache"))
	cmd, out := c.command()
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		entries, _ := filepath.Glob(filepath.Join(c.dir, "cache/entries/[^.]*")) // others are not yet committed
		if len(entries) > 0 {
			cmd.Process.Kill()
		}
		select {
		case <-ended:
			c.last = out.String()
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// check finds what is left of a build besides its results.
func (c *crasher) check() {
	c.t.Helper()
	// The kernel ends what is left of a killed build, which takes a moment.
	deadline := time.Now().Add(20 * time.Second)
	for c.leftProcess() != "" {
		if time.Now().After(deadline) {
			c.t.Fatalf("a process is left: %s\n%s", c.leftProcess(), c.last)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); bytes.Contains(mounts, []byte(c.dir)) {
		c.t.Fatalf("a mount is left:\n%s", c.last)
	}
	c.checkLoops()
}

// checkLoops finds a loop device that shows a file of the build, by the number of that: the
// device was given it by a mount in which it has no path.
func (c *crasher) checkLoops() {
	c.t.Helper()
	files := make(map[uint64]string)
	filepath.WalkDir(c.dir, func(name string, _ os.DirEntry, _ error) error {
		var st unix.Stat_t
		if unix.Lstat(name, &st) == nil {
			files[st.Ino] = name
		}
		return nil
	})
	used, _ := filepath.Glob("/sys/block/loop*/loop")
	for _, name := range used {
		device, err := os.Open("/dev/" + filepath.Base(filepath.Dir(name)))
		if err != nil {
			continue
		}
		info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
		device.Close()
		if err == nil && files[info.Inode] != "" {
			c.t.Fatalf("a loop device is left, of %s", files[info.Inode])
		}
	}
}

// leftProcess finds a process that has a mount of the build's cache in its namespace.
func (c *crasher) leftProcess() string {
	files, _ := filepath.Glob("/proc/[0-9]*/mountinfo")
	for _, f := range files {
		if mounts, _ := os.ReadFile(f); bytes.Contains(mounts, []byte(c.dir)) {
			cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
			return filepath.Dir(f) + " " + string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '}))
		}
	}
	return ""
}

// checkResults finds partial files in the target directory.
func (c *crasher) checkResults() {
	c.t.Helper()
	out := filepath.Join(c.dir, "out")
	names, _ := os.ReadDir(out)
	for _, n := range names {
		if output, err := readWhole(filepath.Join(out, n.Name())); err != nil || strings.HasPrefix(n.Name(), ".") {
			c.t.Fatalf("%s is partial: %v\n%s", n.Name(), err, output)
		}
	}
}

// readWhole reads a result, and what it is about.
func readWhole(file string) ([]byte, error) {
	check := []string{"unsquashfs", "-q", "-l", file}
	switch name := filepath.Base(file); filepath.Ext(name) {
	case ".gz", ".xz":
		check = []string{"tar", "-tf", file}
	case ".qcow2":
		check = []string{"qemu-img", "check", "-q", file}
	case ".manifest": // part of a list is a list; SHA256SUMS has its digest
		return os.ReadFile(file)
	case ".json":
		text, err := os.ReadFile(file)
		if err == nil && !json.Valid(text) {
			err = errors.New("it is no JSON")
		}
		return text, err
	case "":
		if name == "SHA256SUMS" { // what it says is so at any time, if it says anything yet
			check = []string{"sh", "-c", `cd "$0" && { test ! -s SHA256SUMS || sha256sum --check --quiet SHA256SUMS; }`, filepath.Dir(file)}
		}
	}
	return exec.Command(check[0], check[1:]...).CombinedOutput()
}
