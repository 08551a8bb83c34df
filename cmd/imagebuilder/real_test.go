package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/tree"
)

// The tests of this file build from the distribution's mirror that this machine's own
// apt is set up with, and use the image as a user would.

// mirrors returns the archive and the security archive, or skips the test.
func mirrors(t *testing.T) (archive, security string) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes minutes")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: builds")
	}
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		t.Skipf("needs apt-get to name the mirror: %v", err)
	}
	for _, uri := range strings.Fields(string(out)) {
		switch uri = strings.TrimSuffix(uri, "/"); {
		case strings.HasSuffix(uri, "/debian"):
			archive = uri
		case strings.HasSuffix(uri, "/debian-security"):
			security = uri
		}
	}
	if archive == "" || security == "" {
		t.Skip("this machine's apt has no mirror of Debian")
	}
	resp, err := http.Get(archive + "/dists/trixie/InRelease")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Skipf("the mirror %s does not answer: %v", archive, err)
	}
	resp.Body.Close()
	return archive, security
}

// need skips the test where a program is missing.
func need(t *testing.T, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs %s (Debian package %s)", program, pkg)
	}
}

// needCgroups skips the test where containers cannot start, as in a bare chroot.
func needCgroups(t *testing.T) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil || !strings.Contains(string(mounts), " cgroup") {
		t.Skip("needs cgroups mounted below /sys/fs/cgroup, for containers")
	}
}

// imagebuilder runs the tool and returns its standard output.
func imagebuilder(t *testing.T, args ...string) string {
	t.Helper()
	return output(t, nil, "imagebuilder", args...)
}

func output(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	var out, all bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &all
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &out, &all)
	}
	return out.String()
}

// waitUntil polls.
func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !done(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// sharedCache is one cache for all real tests, so that they build what they have in
// common once.
func sharedCache(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(os.TempDir(), "imagebuilder-real-tests")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDebianBootsInLXD(t *testing.T) {
	archive, security := mirrors(t)
	lxd := startLXD(t)
	build := func(t *testing.T, release, variant string) {
		out := t.TempDir()
		imagebuilder(t, "run", "debian", out, "--cache", sharedCache(t), "-o", "release="+release, "-o", "variant="+variant,
			"-o", "mirror="+archive, "-o", "security_mirror="+security, "-o", "compression=zstd-1")
		lxd.lxc(t, "image", "import", out+"/lxd.tar.zst", out+"/rootfs.squashfs", "--alias", "image")
		t.Cleanup(func() { lxd.lxc(t, "image", "delete", "image") })
	}
	for _, release := range []string{"trixie", "bookworm"} {
		t.Run(release, func(t *testing.T) {
			build(t, release, "default")
			lxd.checkContainer(t, "image")
		})
	}
	t.Run("cloud", func(t *testing.T) {
		build(t, "trixie", "cloud")
		lxd.checkCloudInit(t, "image")
	})
}

// Both tools make the same base system but for the books they keep.
func TestBootstrapsAreTheSame(t *testing.T) {
	t.Parallel() // a build keeps one processor busy
	archive, _ := mirrors(t)
	need(t, "debootstrap", "debootstrap")
	need(t, "mmdebstrap", "mmdebstrap")
	recipe := filepath.Join(t.TempDir(), "both.star")
	text := `load("@stdlib//sources/debian.star", "debootstrap")
url, release = option("url", ""), option("release", "")
def main():
    for tool in ["debootstrap", "mmdebstrap"]:
        export(debootstrap(image("debian", release), url, variant = "minbase", include = ["dbus", "systemd-resolved"], snapshot = True, tool = tool), tool)
`
	if err := os.WriteFile(recipe, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, release := range []string{"bookworm", "trixie", "sid"} {
		out := t.TempDir()
		imagebuilder(t, "run", recipe, out, "--cache", sharedCache(t), "-o", "url="+archive, "-o", "release="+release)
		slow, fast := baseDump(t, out+"/debootstrap"), baseDump(t, out+"/mmdebstrap")
		if slow != fast {
			t.Errorf("%s: debootstrap and mmdebstrap differ:\n%s", release, firstDifference(slow, fast))
		}
	}
}

// Definitions have scripts that rely on what debootstrap leaves, whichever tool is used.
func TestUntidyBootstraps(t *testing.T) {
	t.Parallel() // a build keeps one processor busy
	archive, _ := mirrors(t)
	need(t, "debootstrap", "debootstrap")
	need(t, "mmdebstrap", "mmdebstrap")
	recipe := filepath.Join(t.TempDir(), "untidy.star")
	text := `load("@stdlib//sources/debian.star", "debootstrap")
url = option("url", "")
def main():
    for tool in ["debootstrap", "mmdebstrap"]:
        root = debootstrap(image("debian", "bookworm"), url, variant = "minbase", snapshot = True, tidy = False, tool = tool)
        chroot_run(root, """#!/bin/sh
set -e
rm /etc/*- /var/log/bootstrap.log /var/log/dpkg.log /var/log/alternatives.log /var/cache/apt/archives/*.deb
apt-get install -y hello
""")
`
	if err := os.WriteFile(recipe, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	imagebuilder(t, "run", recipe, t.TempDir(), "--cache", sharedCache(t), "-o", "url="+archive)
}

// A key that signed nothing builds nothing, whatever keys this machine trusts.
func TestOnlyGivenKeysCount(t *testing.T) {
	archive, _ := mirrors(t)
	entity, err := openpgp.NewEntity("nobody", "", "nobody@example.org", nil)
	if err != nil {
		t.Fatal(err)
	}
	var key bytes.Buffer
	w, err := armor.Encode(&key, openpgp.PublicKeyType, nil)
	if err == nil {
		err = errors.Join(entity.Serialize(w), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"debootstrap", "mmdebstrap"} {
		t.Run(tool, func(t *testing.T) {
			need(t, tool, tool)
			recipe := filepath.Join(t.TempDir(), "keys.star")
			text := fmt.Sprintf("load(\"@stdlib//sources/debian.star\", \"debootstrap\")\nKEY = %q\n"+
				"def main():\n    debootstrap(image(\"debian\", \"bookworm\"), %q, variant = \"minbase\", keys = [KEY], tool = %q)\n", key.String(), archive, tool)
			if err := os.WriteFile(recipe, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("imagebuilder", "run", recipe, t.TempDir(), "--cache", t.TempDir()).CombinedOutput()
			if err == nil || !regexp.MustCompile(`(?i)sign|public key`).Match(out) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// baseDump lists a base system without the content of files in which the order of
// installation shows, and with links to /lib as those to /usr/lib that they are.
func baseDump(t *testing.T, dir string) string {
	t.Helper()
	books := []string{"/etc/gshadow", "/etc/shadow", "/var/lib/dpkg/status", "/var/lib/dpkg/triggers/File"}
	var kept []string
	for _, line := range strings.Split(dump(t, dir), "\n") {
		for _, book := range books {
			if strings.HasPrefix(line, book+" ") {
				line = book
			}
		}
		kept = append(kept, strings.Replace(line, " /lib/systemd/", " /usr/lib/systemd/", 1))
	}
	return strings.Join(kept, "\n")
}

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

func firstDifference(a, b string) string {
	left, right := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(left), len(right)) {
		if left[i] != right[i] {
			return left[i] + "\n" + right[i]
		}
	}
	return "one is longer"
}

// An lxdServer is a daemon of our own, with its own directory, that knows nothing of
// one that the machine may have.
type lxdServer struct {
	dir string
	env []string
}

func startLXD(t *testing.T, env ...string) lxdServer {
	t.Helper()
	need(t, "lxd", "lxd")
	need(t, "lxc", "lxd-client")
	needCgroups(t)
	dir, err := os.MkdirTemp("/var/tmp", "lxd") // short: it holds sockets
	if err != nil {
		t.Fatal(err)
	}
	lxd := lxdServer{dir, append(env, "LXD_DIR="+dir, "HOME="+dir)}
	ctx, cancel := context.WithCancel(context.Background())
	daemon := exec.CommandContext(ctx, "lxd", "--group", "root")
	daemon.Env = append(os.Environ(), lxd.env...)
	var log bytes.Buffer
	daemon.Stdout, daemon.Stderr = &log, &log
	daemon.WaitDelay = time.Minute // for what it may leave behind, which holds its output open
	if err := daemon.Start(); err != nil {
		t.Skipf("lxd does not start here: %v", err)
	}
	t.Cleanup(func() {
		exec.Command("env", append(lxd.env, "lxd", "shutdown", "--force", "--timeout", "60")...).Run()
		cancel()
		daemon.Wait()
		exec.Command("sh", "-c", `awk '$2 ~ dir {print $2}' dir="^$0" /proc/mounts | sort -r | xargs -r -n1 umount -l`, dir).Run()
		os.RemoveAll(dir)
	})
	waitUntil(t, "lxd to start: "+log.String(), func() bool {
		return exec.Command("env", append(lxd.env, "lxc", "query", "/1.0")...).Run() == nil
	})
	lxd.lxc(t, "storage", "create", "default", "dir")
	lxd.lxc(t, "profile", "device", "add", "default", "root", "disk", "path=/", "pool=default")
	return lxd
}

func (l lxdServer) lxc(t *testing.T, args ...string) string {
	t.Helper()
	return output(t, l.env, "lxc", args...)
}

// checkContainer launches an image and looks whether it is well inside.
func (l lxdServer) checkContainer(t *testing.T, image string) {
	t.Helper()
	l.lxc(t, "launch", image, "c1")
	defer l.lxc(t, "delete", "--force", "c1")
	checkInside(t, func(script string) string {
		out, _ := exec.Command("env", append(l.env, "lxc", "exec", "c1", "--", "sh", "-c", script)...).CombinedOutput()
		return strings.TrimSpace(string(out))
	})
}

// checkInside looks whether a container that is called c1 boots and is as it should be.
func checkInside(t *testing.T, inside func(script string) string) {
	t.Helper()
	waitUntil(t, "the container to run", func() bool {
		state := inside("systemctl is-system-running")
		return state == "running" || state == "degraded"
	})
	if state := inside("systemctl is-system-running"); state != "running" {
		t.Errorf("the system is %s:\n%s", state, inside("systemctl --failed"))
	}
	if name := inside("hostname"); name != "c1" {
		t.Errorf("the host name is %s", name)
	}
	if hosts := inside("cat /etc/hosts"); !strings.HasPrefix(hosts, "127.0.1.1\tc1\n") {
		t.Errorf("/etc/hosts:\n%s", hosts)
	}
	if id := inside("cat /etc/machine-id"); len(id) != 32 {
		t.Errorf("machine-id: %q", id)
	}
	if link := inside("readlink /etc/resolv.conf"); strings.TrimPrefix(link, "..") != "/run/systemd/resolve/stub-resolv.conf" {
		t.Errorf("/etc/resolv.conf leads to %q", link)
	}
}

// checkCloudInit launches a container with user data and looks for what cloud-init
// finds. It does not wait for the boot to end: cloud-init waits minutes for a network.
func (l lxdServer) checkCloudInit(t *testing.T, image string) {
	t.Helper()
	l.lxc(t, "launch", image, "c2", "--config", "cloud-init.user-data=#cloud-config\nhostname: x")
	defer l.lxc(t, "delete", "--force", "c2")
	want := map[string]string{
		"user-data":   "#cloud-config\nhostname: x\n",
		"vendor-data": "#cloud-config\n{}\n",
		"meta-data":   "instance-id: c2\nlocal-hostname: c2\n\n",
	}
	for name, text := range want {
		if got := l.lxc(t, "exec", "c2", "--", "cat", "/var/lib/cloud/seed/nocloud-net/"+name); got != text {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got, text)
		}
	}
}
