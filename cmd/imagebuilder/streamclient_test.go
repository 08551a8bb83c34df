package main

import (
	"bufio"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// publish builds a container image that boots and puts it into an image server.
const publish = `
load("busybox.star", "busybox")

serial = option("serial", "")
server = option("server", "")

def main():
    img = image("busybox", "1.36", serial = serial)
    root = busybox(img)
    for dir in ["dev", "proc", "run", "sbin", "sys", "tmp"]:
        root.mkdir("/" + dir)
    root.link("/sbin/init", "/bin/busybox")
    root.write("/etc/version", serial)
    stream_add(pack_lxd(root, img), server)
    stream_build(server, strict = True)
`

// A streamServer is a running "imagebuilder stream serve".
type streamServer struct {
	url, cert string

	mu    sync.Mutex
	paths []string // that were asked for
}

// serveTree serves a tree until the test ends.
func serveTree(t *testing.T, root string) *streamServer {
	t.Helper()
	state := t.TempDir()
	s := &streamServer{cert: filepath.Join(state, "cert.pem")}
	cmd := exec.Command("imagebuilder", "stream", "serve", root, "--address", "127.0.0.1:0", "--state-dir", state, "--debug", "--log-format", "json")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.read(bufio.NewScanner(log))
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-done
		if err := cmd.Wait(); err != nil {
			t.Errorf("stream serve: %v", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("stream serve says no address: %v", err)
	}
	s.url = strings.TrimSpace(line)
	return s
}

// read takes note of the requests in the log.
func (s *streamServer) read(log *bufio.Scanner) {
	for log.Scan() {
		var record struct{ Msg, Path string }
		if json.Unmarshal(log.Bytes(), &record) == nil && record.Msg == "Request" {
			s.mu.Lock()
			s.paths = append(s.paths, record.Path)
			s.mu.Unlock()
		}
	}
}

// asked returns the paths asked for since the last call.
func (s *streamServer) asked() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	paths := strings.Join(s.paths, "\n")
	s.paths = nil
	return paths
}

// A real LXD takes images from a server that this tool maintains and serves: by alias,
// the next version as a delta of the one it has, and by its address in one piece.
func TestLXDUsesServer(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a daemon and containers")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: builds, and runs a daemon")
	}
	need(t, "mksquashfs", "squashfs-tools")
	need(t, "xdelta3", "xdelta3")
	need(t, "/bin/busybox", "busybox-static")
	need(t, "lxd", "lxd")
	need(t, "lxc", "lxd-client")
	dir := t.TempDir()
	recipe, server := filepath.Join(dir, "publish.star"), filepath.Join(dir, "srv")
	library, err := os.ReadFile("../../testdata/recipes/busybox.star")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "busybox.star"), library, 0o644)
	}
	if err == nil {
		err = os.WriteFile(recipe, []byte(publish), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	publish := func(serial string) {
		imagebuilder(t, "run", recipe, dir, "--cache", filepath.Join(dir, "cache"), "-o", "serial="+serial, "-o", "server="+server)
	}

	publish("20260101_0000")
	s := serveTree(t, server)
	lxd := startLXD(t, "SSL_CERT_FILE="+s.cert) // as if the system trusted the certificate
	lxd.lxc(t, "remote", "add", "ours", s.url, "--protocol", "simplestreams")
	if list := lxd.lxc(t, "image", "list", "ours:", "--format", "csv", "--columns", "ldt"); !strings.HasPrefix(list, "busybox/1.36 (3 more),Busybox 1.36 amd64 (20260101_0000),CONTAINER") {
		t.Errorf("the list of images: %s", list)
	}
	lxd.checkVersion(t, "ours:busybox/1.36", "c1", "20260101_0000")
	cached := strings.TrimSpace(lxd.lxc(t, "image", "list", "--format", "csv", "--columns", "F"))
	if asked := s.asked(); !strings.Contains(asked, "/20260101_0000/rootfs.squashfs") {
		t.Errorf("the first version was not downloaded:\n%s", asked)
	}

	publish("20260102_0000")
	lxd.forgetIndex(t)
	lxd.lxc(t, "image", "refresh", cached) // as the daemon does every six hours
	lxd.checkVersion(t, "ours:busybox/1.36", "c2", "20260102_0000")
	asked := s.asked()
	if !strings.Contains(asked, "/20260102_0000/rootfs.20260101_0000.vcdiff") || strings.Contains(asked, "/20260102_0000/rootfs.squashfs") {
		t.Errorf("the second version was not downloaded as a delta:\n%s", asked)
	}

	lxd.lxc(t, "image", "import", s.url+"/busybox/1.36", "--alias", "imported")
	if asked := s.asked(); !strings.HasSuffix(asked, "/20260102_0000/unified/lxd.tar.xz/rootfs.squashfs.tar") {
		t.Errorf("the image was not imported in one piece:\n%s", asked)
	}
	lxd.checkVersion(t, "imported", "c3", "20260102_0000")
}

// checkVersion launches an image and looks which version it is.
func (l lxdServer) checkVersion(t *testing.T, image, name, version string) {
	t.Helper()
	l.lxc(t, "launch", image, name)
	t.Cleanup(func() { l.lxc(t, "delete", "--force", name) })
	waitUntil(t, "the container to run "+version, func() bool {
		out, err := exec.Command("env", append(l.env, "lxc", "exec", name, "--", "cat", "/etc/version")...).Output()
		return err == nil && string(out) == version
	})
}

// forgetIndex makes what the daemon keeps of the server's index older than the hour for
// which it goes by that.
func (l lxdServer) forgetIndex(t *testing.T) {
	t.Helper()
	then, aged := time.Now().Add(-2*time.Hour), 0
	err := filepath.WalkDir(filepath.Join(l.dir, "cache"), func(name string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".json") {
			aged++
			err = os.Chtimes(name, then, then)
		}
		return err
	})
	if err != nil || aged == 0 {
		t.Fatalf("the daemon keeps %d files of the index: %v", aged, err)
	}
}
