package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A cluster is Slurm with three nodes on this machine, each with a cache of its own, and a
// registry of layers.
type cluster struct {
	t        *testing.T
	dir      string
	registry string
	env      []string
	nodes    map[string]*exec.Cmd
}

const slurmConf = `ClusterName=test
SlurmctldHost=HOST(127.0.0.1)
SlurmctldPort=PORT0
AuthType=auth/munge
AuthInfo=socket=DIR/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation=DIR/state
SlurmctldPidFile=DIR/slurmctld.pid
SlurmdSpoolDir=DIR/spool-%n
SlurmdPidFile=DIR/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
MpiDefault=none
SwitchType=switch/none
SlurmdTimeout=5
TCPTimeout=2
MailProg=/bin/true
SchedulerParameters=sched_interval=1,bf_interval=1
NodeName=n1 NodeHostname=HOST NodeAddr=127.0.0.1 Port=PORT1 CPUs=1 Feature=ARCH
NodeName=n2 NodeHostname=HOST NodeAddr=127.0.0.1 Port=PORT2 CPUs=1 Feature=ARCH
NodeName=n3 NodeHostname=HOST NodeAddr=127.0.0.1 Port=PORT3 CPUs=1 Feature=ARCH
PartitionName=all Nodes=ALL Default=YES State=UP
`

// newCluster starts the daemons.
func newCluster(t *testing.T) *cluster {
	dir, err := os.MkdirTemp("", "slurm") // sockets have short paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // or munged refuses
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: dir, nodes: make(map[string]*exec.Cmd)}
	tool, err := exec.LookPath("imagebuilder")
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	machine, err := exec.Command("uname", "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	conf := strings.NewReplacer("HOST", host, "DIR", dir, "ARCH", strings.TrimSpace(string(machine)),
		"PORT0", freePort(t), "PORT1", freePort(t), "PORT2", freePort(t), "PORT3", freePort(t)).Replace(slurmConf)
	c.registry = "127.0.0.1:" + freePort(t)
	c.write("slurm.conf", conf, 0o644)
	c.write("munge.key", strings.Repeat("0123456789abcdef", 8), 0o600)
	c.write("registry.yml", "version: 0.1\nhttp: {addr: \""+c.registry+"\", secret: shared}\nstorage: {filesystem: {rootdirectory: "+dir+"/registry}}\n", 0o644)
	c.write("bin/imagebuilder", "#!/bin/sh\nIMAGEBUILDER_CACHE="+dir+"/cache-${SLURMD_NODENAME:-here} exec "+tool+" \"$@\"\n", 0o755)
	c.write("state/.keep", "", 0o644)
	c.env = append(os.Environ(), "SLURM_CONF="+dir+"/slurm.conf", "PATH="+dir+"/bin:"+os.Getenv("PATH"), "SOURCE_DATE_EPOCH=1760000000")
	c.keys()
	c.daemon("munged", "--foreground", "--key-file="+dir+"/munge.key", "--socket="+dir+"/munge.socket", "--pid-file="+dir+"/munge.pid",
		"--log-file="+dir+"/munge.log", "--seed-file="+dir+"/munge.seed")
	c.daemon("docker-registry", "serve", dir+"/registry.yml")
	c.until("the registry answers", func() bool { return c.tags() >= 0 })
	c.until("munged answers", func() bool { _, err := os.Stat(dir + "/munge.socket"); return err == nil })
	c.daemon("slurmctld", "-D")
	for _, node := range []string{"n1", "n2", "n3"} {
		c.nodes[node] = c.daemon("slurmd", "-D", "-N", node)
	}
	c.until("three nodes are idle", func() bool { return strings.Count(c.try("sinfo", "-h", "-N", "-o", "%N %T"), " idle") == 3 })
	return c
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func (c *cluster) write(name, text string, mode os.FileMode) {
	c.t.Helper()
	file := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		c.t.Fatal(err)
	}
}

// keys makes the key that workers sign with.
func (c *cluster) keys() {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		c.t.Fatal(err)
	}
	known, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write("ci.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})), 0o600)
	c.write("ci.pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: known})), 0o644)
}

func (c *cluster) command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = c.dir, c.env
	return cmd
}

// daemon starts a program that runs until the test ends.
func (c *cluster) daemon(args ...string) *exec.Cmd {
	c.t.Helper()
	cmd := c.command(args...)
	log, err := os.Create(filepath.Join(c.dir, filepath.Base(args[0])+args[len(args)-1][max(0, len(args[len(args)-1])-2):]+".out"))
	if err != nil {
		c.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		late.Stop()
		log.Close()
	})
	return cmd
}

// run runs a command that goes well.
func (c *cluster) run(args ...string) string {
	c.t.Helper()
	out, err := c.command(args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// try runs a command that may fail as yet.
func (c *cluster) try(args ...string) string {
	out, _ := c.command(args...).Output()
	return string(out)
}

func (c *cluster) until(what string, is func() bool) {
	c.t.Helper()
	for end := time.Now().Add(90 * time.Second); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			logs, _ := filepath.Glob(c.dir + "/*.out")
			for _, log := range logs {
				text, _ := os.ReadFile(log)
				c.t.Logf("%s:\n%s", log, bytes.TrimSpace(text[max(0, len(text)-2000):]))
			}
			c.t.Fatalf("waited too long until %s\n%s", what, c.try("squeue"))
		}
	}
}

// tags is how many layers and results the registry has, -1 if it does not answer.
func (c *cluster) tags() int {
	resp, err := http.Get("http://" + c.registry + "/v2/team/layers/tags/list")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	var list struct{ Tags []string }
	if text, err := io.ReadAll(resp.Body); err == nil {
		json.Unmarshal(text, &list) // of nothing there is no list
	}
	return len(slices.DeleteFunc(list.Tags, func(tag string) bool { return strings.HasPrefix(tag, "cell-") }))
}

// killNode ends all processes of a node, as if its machine had lost its power.
func (c *cluster) killNode(node string) {
	c.nodes[node].Process.Kill()
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, proc := range procs {
		environ, err := os.ReadFile(proc + "/environ")
		if err != nil || !bytes.Contains(environ, []byte("SLURMD_NODENAME="+node+"\x00")) || !bytes.Contains(environ, []byte(c.dir)) {
			continue
		}
		for pid := filepath.Base(proc); pid != ""; {
			status, err := os.ReadFile("/proc/" + pid + "/status")
			n, _ := strconv.Atoi(pid)
			if err != nil || n <= 1 {
				break
			}
			syscall.Kill(n, syscall.SIGKILL)
			pid = ""
			if parent := regexp.MustCompile(`(?m)^PPid:\s+(\d+)`).FindSubmatch(status); parent != nil {
				if name, _ := os.ReadFile("/proc/" + string(parent[1]) + "/comm"); strings.HasPrefix(string(name), "slurmstepd") {
					pid = string(parent[1])
				}
			}
		}
	}
}

const slurmRecipe = `"""Two releases of next to nothing, whose second step takes a while."""
release = option("release", "1", values = ["1", "2"])
variant = option("variant", "default")

_BASE = """#!/bin/sh
cd /tmp/rootfs
mkdir bin etc
cp /bin/busybox bin
ln -s busybox bin/sh
ln -s busybox bin/sleep
echo %s >etc/release
"""

def main():
    img = image("tiny", release, variant)
    root = rootfs(img)
    host_run(root, _BASE % release, network = False)
    chroot_run(root, "sleep 4; echo %s >/etc/variant" % variant, network = False)
    pack_lxd(root, img, compression = "zstd-1")
`

// Slurm builds a matrix on three nodes that share a registry and nothing else but the directory of
// the results, for a publisher not even that: each base is built once, although the node that has built one dies, and the tree of
// the image server is the one that one machine makes.
func TestSlurm(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, name := range []string{"munged", "slurmctld", "slurmd", "sbatch", "docker-registry", "zstd", "mksquashfs"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s, of munge, slurm-wlm, docker-registry, zstd, squashfs-tools", name)
		}
	}
	if _, err := os.Stat("/bin/busybox"); err != nil {
		t.Skip("needs busybox-static")
	}
	c := newCluster(t)
	c.write("tiny.star", slurmRecipe, 0o644)
	const cells = `cells("tiny.star", release = ["1", "2"], variant = ["default", "cloud"], stream = "images")`
	c.write("all.star", cells, 0o644)
	alone, said := make(chan error, 1), bytes.Buffer{}
	c.write("alone/tiny.star", slurmRecipe, 0o644)
	c.write("alone/all.star", cells, 0o644)
	one := c.command("imagebuilder", "matrix", "run", "all.star", "out", "-j", "1", "--sign-key", "../ci.key")
	one.Dir += "/alone"
	one.Stdout, one.Stderr = &said, &said
	go func() { alone <- one.Run() }()
	c.write("jobs.sh", c.run("imagebuilder", "matrix", "plan", "all.star", "out", "--for", "slurm",
		"--remote", c.registry+"/team/layers", "--remote-push", "all", "--remote-keys", "ci.pub", "--sign-key", "ci.key"), 0o755)
	c.run("sh", "jobs.sh")

	// Both bases are shared when the node dies that has built the first, in the middle of what comes next.
	c.until("both leaders have given their bases", func() bool { return c.tags() >= 2 })
	id, node, _ := strings.Cut(strings.TrimSpace(strings.Split(c.run("squeue", "-h", "-r", "-t", "R", "-n", "cells", "-S", "i", "-o", "%i %N"), "\n")[0]), " ")
	if !strings.HasSuffix(id, "_0") {
		t.Fatalf("the leader of release 1 does not run: %q", c.run("squeue"))
	}
	c.killNode(node)
	state := func() string { return c.try("squeue", "-h", "-r", "-j", id, "-o", "%T %r") }
	c.until("the job is queued again", func() bool { return strings.HasPrefix(state(), "PENDING") })
	c.run("scontrol", "update", "jobid="+id, "starttime=now") // Slurm itself waits for two minutes
	c.until("all jobs have ended", func() bool { return c.try("squeue", "-h") == "" })

	status := c.run("imagebuilder", "matrix", "status", "out")
	t.Logf("%s was killed\n%s", node, status)
	logs := func(release string) (n int) {
		files, err := filepath.Glob(c.dir + "/out/tiny-" + release + "-*/log")
		if err != nil || len(files) != 2 {
			t.Fatalf("%d logs, %v", len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			n += bytes.Count(text, []byte("start  host_run"))
		}
		return n
	}
	if n := logs("1"); n != 0 { // the log of the node that died is gone
		t.Errorf("the base of release 1 was built %d times after the first", n)
	}
	if n := logs("2"); n != 1 {
		t.Errorf("the base of release 2 was built %d times", n)
	}

	if err := <-alone; err != nil {
		t.Fatalf("on one machine: %v\n%s", err, &said)
	}
	// A publisher that has nothing but the registry makes the same.
	c.write("pulled/all.star", cells, 0o644)
	pulled := c.command("imagebuilder", "matrix", "publish", "all.star", "out", "--remote", c.registry+"/team/layers", "--remote-keys", "../ci.pub")
	pulled.Dir += "/pulled"
	if out, err := pulled.CombinedOutput(); err != nil {
		t.Errorf("cannot publish from the registry: %v\n%s", err, out)
	}
	for _, tree := range []string{"images", "pulled/images"} {
		if out, err := c.command("diff", "-r", "--exclude=.state", "alone/images", tree).CombinedOutput(); err != nil {
			t.Errorf("the tree %s is not the one that one machine makes: %v\n%.2000s\n%s", tree, err, out, &said)
		}
	}
}
