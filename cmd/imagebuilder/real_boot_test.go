package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// busyboxImage is a recipe of a container. It says hello on its console.
const busyboxImage = `
load("busybox.star", "busybox")

init = option("init", "exec /bin/busybox init")
shell = option("shell", True)

def main():
    img = image("busybox", "1.36")
    root = busybox(img)
    for dir in ["dev", "proc", "run", "sbin", "sys", "tmp"]:
        root.mkdir("/" + dir)
    root.write("/sbin/init", "#!/bin/busybox sh\n" + init + "\n", mode = 0o755)
    root.write("/etc/inittab", "::sysinit:/bin/echo hello\n::respawn:/bin/sleep 3600\n")
    if not shell:
        root.remove("/bin/sh")
    pack_lxd(root, img)
`

// A container boots in the daemon of this machine, or the error says what its console did;
// nothing of it stays there.
func TestBootInLXD(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a daemon and containers")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: builds, and runs a daemon")
	}
	need(t, "mksquashfs", "squashfs-tools")
	need(t, "/bin/busybox", "busybox-static")
	lxd := startLXD(t)
	command := func(t *testing.T, image ...string) *exec.Cmd {
		dir := t.TempDir()
		library, err := os.ReadFile("../../testdata/recipes/busybox.star")
		for name, text := range map[string]string{"busybox.star": string(library), "box.star": busyboxImage} {
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		imagebuilder(t, append([]string{"run", dir + "/box.star", dir, "--cache", dir + "/cache"}, image...)...)
		return exec.Command("env", append(lxd.env, "imagebuilder", "boot", "--lxd", dir+"/lxd.tar.xz", dir+"/rootfs.squashfs")...)
	}
	nothingLeft := func(t *testing.T) {
		if left := lxd.lxc(t, "list", "--format", "csv") + lxd.lxc(t, "image", "list", "--format", "csv"); left != "" {
			t.Errorf("left behind: %s", left)
		}
	}
	t.Run("up", func(t *testing.T) {
		out, err := command(t).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "up after ") {
			t.Errorf("%v\n%s", err, out)
		}
		nothingLeft(t)
	})
	t.Run("an init that ends", func(t *testing.T) {
		out, err := command(t, "-o", "init=exit 1").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "does not boot: ") {
			t.Errorf("%v\n%s", err, out)
		}
		nothingLeft(t)
	})
	t.Run("too late", func(t *testing.T) {
		boot := command(t, "-o", "shell=false")
		boot.Args = append(boot.Args, "--timeout", "15s")
		out, err := boot.CombinedOutput()
		if err == nil || !strings.HasSuffix(string(out), "does not boot: it was not up within 15s\n  hello\n") {
			t.Errorf("%v\n%s", err, out)
		}
		nothingLeft(t)
	})
	t.Run("interrupted", func(t *testing.T) {
		boot := command(t, "-o", "shell=false")
		if err := boot.Start(); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, "the container", func() bool { return lxd.lxc(t, "list", "--format", "csv") != "" })
		boot.Process.Signal(syscall.SIGTERM)
		boot.Wait()
		if code := boot.ProcessState.ExitCode(); code != 143 {
			t.Errorf("exit status %d", code)
		}
		nothingLeft(t)
	})
	t.Run("one that was there stays", func(t *testing.T) {
		boot := command(t)
		files := boot.Args[len(boot.Args)-2:]
		lxd.lxc(t, "image", "import", files[0], files[1])
		if out, err := boot.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		if list := lxd.lxc(t, "image", "list", "--format", "csv"); list == "" {
			t.Error("the image is gone")
		}
	})
}
