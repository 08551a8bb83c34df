package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"imagebuilder/builtins/host"
)

const kubernetesRecipe = `"""Two releases of next to nothing."""
release = option("release", "1", values = ["1", "2"])
variant = option("variant", "default")
motd = option("motd", "")

def main():
    img = image("tiny", release, variant)
    root = rootfs(img)
    host_run(root, "mkdir /tmp/rootfs/bin; cp /bin/busybox /tmp/rootfs/bin; ln -s busybox /tmp/rootfs/bin/sh; echo %s >/tmp/rootfs/release" % release, network = False)
    root.write("/motd", motd)
    chroot_run(root, "echo %s >/variant" % variant, network = False)
    pack_lxd(root, img, compression = "zstd-1")
`

// newKubernetes starts etcd and an API server, and where it is there the controller that makes
// pods of Jobs. There are no nodes.
func newKubernetes(t *testing.T) (c *cluster, controller bool) {
	c = &cluster{t: t, dir: t.TempDir()}
	client, peer, port := "http://127.0.0.1:"+freePort(t), "http://127.0.0.1:"+freePort(t), freePort(t)
	c.write("tokens.csv", "secret,admin,1,system:masters\n", 0o600)
	c.write("kubeconfig", fmt.Sprintf("{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], "+
		"users: [{name: a, user: {token: secret}}], clusters: [{name: a, cluster: {server: 'https://127.0.0.1:%s', certificate-authority: pki/apiserver.crt}}]}\n", port), 0o600)
	c.env = append(os.Environ(), "KUBECONFIG="+c.dir+"/kubeconfig", "KUBECACHEDIR="+c.dir+"/kube", "HOME="+c.dir,
		"IMAGEBUILDER_CACHE="+c.dir+"/cache", "SOURCE_DATE_EPOCH=1760000000", "no_proxy=127.0.0.1")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // of accounts, of which nobody has one
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c.write("accounts.key", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})), 0o600)
	c.daemon("etcd", "--data-dir="+c.dir+"/etcd", "--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
	c.daemon("kube-apiserver", "--etcd-servers="+client, "--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+c.dir+"/pki",
		"--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=192.0.2.0/24",
		"--service-account-issuer=https://kubernetes.example", "--service-account-key-file=accounts.key", "--service-account-signing-key-file=accounts.key",
		"--token-auth-file=tokens.csv", "--authorization-mode=AlwaysAllow", "--allow-privileged=true", "--disable-admission-plugins=ServiceAccount")
	c.until("the API server is ready", func() bool { return strings.Contains(c.try("kubectl", "get", "--raw", "/readyz"), "ok") })
	c.until("there is a namespace", func() bool { return c.try("kubectl", "get", "namespace", "default") != "" })
	if _, err := exec.LookPath("kube-controller-manager"); err != nil {
		return c, false
	}
	c.daemon("kube-controller-manager", "--kubeconfig="+c.dir+"/kubeconfig", "--controllers=job-controller", "--leader-elect=false",
		"--authentication-skip-lookup", "--bind-address=127.0.0.1", "--cert-dir="+c.dir+"/pki-controller", "--secure-port="+freePort(t))
	return c, true
}

// get decodes what the API server has of a kind.
func (c *cluster) get(kind string, to any) {
	c.t.Helper()
	if err := json.Unmarshal([]byte(c.run("kubectl", "get", kind, "-o", "json")), to); err != nil {
		c.t.Fatal(err)
	}
}

// A podSpec is what the test looks at of what is to run.
type podSpec struct {
	NodeSelector  map[string]string
	RestartPolicy string
	Containers    []struct {
		Image, WorkingDir string
		Command           []string
		Env               []struct {
			Name      string
			ValueFrom struct{ FieldRef struct{ FieldPath string } }
		}
		VolumeMounts    []struct{ Name, MountPath string }
		SecurityContext struct{ Privileged bool }
	}
	Volumes []struct {
		Name                  string
		PersistentVolumeClaim *struct{ ClaimName string }
		EmptyDir              *struct{}
	}
}

// An API server takes the Jobs of a matrix, as strictly as it can, and has of them what the
// document says; what is wrong it refuses. With the controller the Jobs are done, in the stages
// that the file says, by this machine as the only node, which is lost once.
func TestRealKubernetes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: builds")
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s: the Debian package etcd-server has etcd, .ci/kubernetes DIR builds the others in half an hour", name)
		}
	}
	need(t, "zstd", "zstd")
	if _, err := os.Stat("/bin/busybox"); err != nil {
		t.Skip("needs busybox-static")
	}
	c, controller := newKubernetes(t)
	c.write("work/tiny.star", kubernetesRecipe, 0o644)
	c.write("work/all.star", `cells("tiny.star", release = ["1", "2"], variant = ["default", "cloud"], stream = "images")`, 0o644)
	work := filepath.Join(c.dir, "work")
	plan := c.command("imagebuilder", "matrix", "plan", "all.star", "out", "--for", "kubernetes", "--image", "registry.example/imagebuilder", "-o", `motd=it's "$HOME" #1`)
	plan.Dir = work
	text, err := plan.Output()
	if err != nil {
		t.Fatalf("%v: %s", plan, err)
	}
	jobs := string(text)
	c.write("jobs.yaml", jobs, 0o644)

	for want, wrong := range map[string]string{
		`unknown field "spec.completionmode"`: strings.ReplaceAll(jobs, "completionMode:", "completionmode:"),
		"requires indexed completion mode":    strings.ReplaceAll(jobs, "completionMode: Indexed", "completionMode: NonIndexed"),
		"claimName: Required":                 strings.ReplaceAll(jobs, "claimName: imagebuilder", "claimName: ''"),
		"restartPolicy: Unsupported":          strings.ReplaceAll(jobs, "restartPolicy: Never", "restartPolicy: Often"),
		"cannot unmarshal string":             strings.ReplaceAll(jobs, "completions: ", "completions: x"),
	} {
		c.write("wrong.yaml", wrong, 0o644)
		if out, err := c.command("kubectl", "apply", "--validate=strict", "-f", "wrong.yaml").CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("want an error with %q, got %v\n%s", want, err, out)
		}
	}

	stages := regexp.MustCompile(`(?m)^#   (kubectl .*)$`).FindAllStringSubmatch(jobs, -1)
	if len(stages) != 3 {
		t.Fatalf("the file says %d stages", len(stages))
	}
	for _, stage := range stages {
		script := strings.Replace(stage[1], "-f FILE", "--validate=strict -f jobs.yaml", 1)
		if !controller { // nothing becomes complete
			script, _, _ = strings.Cut(script, " && ")
		}
		c.playNode(work, "sh", "-ec", script)
	}

	if controller {
		c.playNode(work, "kubectl", "wait", "--for=condition=complete", "--timeout=60s", "job", "imagebuilder-publish")
	}

	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct{ Succeeded, Failed int }
			Spec     struct {
				CompletionMode           string
				Completions, Parallelism int
				BackoffLimitPerIndex     int
				Template                 struct{ Spec podSpec }
			}
		}
	}
	c.get("jobs", &list)
	want := map[string]int{"imagebuilder-leaders-0": 2, "imagebuilder-rest-0": 2, "imagebuilder-publish": 1}
	if len(list.Items) != len(want) {
		t.Errorf("there are %d jobs, want %d", len(list.Items), len(want))
	}
	arch := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[strings.TrimSpace(output(t, nil, "uname", "-m"))]
	for _, job := range list.Items {
		spec, pod := job.Spec, job.Spec.Template.Spec
		if spec.CompletionMode != "Indexed" || spec.Completions != want[job.Metadata.Name] || spec.Parallelism != spec.Completions || spec.BackoffLimitPerIndex != 3 {
			t.Errorf("%s: its spec is %+v", job.Metadata.Name, spec)
		}
		if publish := job.Metadata.Name == "imagebuilder-publish"; !publish && pod.NodeSelector["kubernetes.io/arch"] != arch || publish && pod.NodeSelector != nil {
			t.Errorf("%s: its nodes are %v", job.Metadata.Name, pod.NodeSelector)
		}
		box := pod.Containers[0]
		if box.Image != "registry.example/imagebuilder" || box.WorkingDir != "/work" || !box.SecurityContext.Privileged {
			t.Errorf("%s: its container is %+v", job.Metadata.Name, box)
		}
		if got := fmt.Sprint(box.VolumeMounts); got != "[{work /work} {cache /var/cache/imagebuilder}]" {
			t.Errorf("%s: its volumes are at %s", job.Metadata.Name, got)
		}
		if v := pod.Volumes; len(v) != 2 || v[0].PersistentVolumeClaim == nil || v[0].PersistentVolumeClaim.ClaimName != "imagebuilder" || v[1].EmptyDir == nil {
			t.Errorf("%s: its volumes are %+v", job.Metadata.Name, v)
		}
	}
	if !controller {
		t.Log("kube-controller-manager is not there: the jobs were taken, not done")
		return
	}
	for _, job := range list.Items {
		lost := 0
		if job.Metadata.Name == "imagebuilder-leaders-0" {
			lost = 1
		}
		if job.Status.Succeeded != job.Spec.Completions || job.Status.Failed != lost {
			t.Errorf("%s: of its pods %d went well and %d did not, want %d and %d", job.Metadata.Name, job.Status.Succeeded, job.Status.Failed, job.Spec.Completions, lost)
		}
	}
	tree, err := filepath.Glob(work + "/images/images/tiny/*/*/*")
	if err != nil || len(tree) != 4 {
		t.Errorf("the image server has %q, %v", tree, err)
	}
	t.Log(c.run("imagebuilder", "matrix", "status", "work/out"))
}

// playNode does what pods are to do until a command has ended, one after the other: the first
// of all is on a node that is lost.
func (c *cluster) playNode(work string, args ...string) {
	c.t.Helper()
	done := make(chan error, 1)
	var out []byte
	go func() {
		var err error
		out, err = c.command(args...).CombinedOutput()
		done <- err
	}()
	var ended bool
	var err error
	c.until(strings.Join(args, " ")+" ends", func() bool {
		select {
		case err = <-done:
			ended = true
		default:
			c.doPods(work)
		}
		return ended
	})
	if err != nil {
		c.t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// doPods runs the commands of pods that wait, as a kubelet would, and says what became of them.
func (c *cluster) doPods(work string) {
	c.t.Helper()
	var pods struct {
		Items []struct {
			Metadata struct {
				Name                string
				Annotations, Labels map[string]string
			}
			Spec   podSpec
			Status struct{ Phase string }
		}
	}
	c.get("pods", &pods)
	for _, pod := range pods.Items {
		if pod.Status.Phase != "Pending" {
			continue
		}
		box, phase := pod.Spec.Containers[0], "Succeeded"
		cmd := exec.Command(box.Command[0], box.Command[1:]...)
		cmd.Dir, cmd.Env = work, c.env
		for _, env := range box.Env {
			field, key, _ := strings.Cut(strings.TrimSuffix(env.ValueFrom.FieldRef.FieldPath, "']"), "['")
			value := pod.Metadata.Annotations[key]
			if field == "metadata.labels" {
				value = pod.Metadata.Labels[key]
			}
			cmd.Env = append(cmd.Env, env.Name+"="+value)
		}
		if _, err := os.Stat(c.dir + "/lost"); err != nil { // the first
			c.write("lost", pod.Metadata.Name, 0o644)
			phase = "Failed"
		} else if out, err := cmd.CombinedOutput(); err != nil {
			c.t.Errorf("%s: %v\n%s", pod.Metadata.Name, err, out)
			phase = "Failed"
		}
		c.run("kubectl", "patch", "pod", pod.Metadata.Name, "--subresource=status", "--type=merge", "-p", `{"status":{"phase":"`+phase+`"}}`)
	}
}

// The image of workers has what the tool leaves work to, but what starts virtual machines.
func TestWorkerHasTools(t *testing.T) {
	plan := imagebuilder(t, "plan", "worker", "-o", "release=bookworm")
	install := regexp.MustCompile(`(?m)^ *apt-get -y install (.*)$`).FindStringSubmatch(plan)
	if install == nil {
		t.Fatalf("it installs nothing:\n%s", plan)
	}
	has := strings.Fields(install[1])
	for _, tool := range host.Tools() {
		if !strings.HasPrefix(tool.For, "boot: ") && !slices.Contains(has, tool.Package) {
			t.Errorf("%s is not there, which %s has", tool.Name, tool.Package)
		}
	}
}
