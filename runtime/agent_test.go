package runtime

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"imagebuilder/builtins/sandbox"
)

// agentFile returns what the generator lxd-agent writes to a path that ends so.
func agentFile(t *testing.T, suffix string) string {
	t.Helper()
	return writtenBy(t, "lxd-agent", suffix)
}

func writtenBy(t *testing.T, generator, suffix string) string {
	t.Helper()
	for _, step := range planText(t, "def main():\n    generate(fork(rootfs(image('x')), 'vm'), '"+generator+"')\n").Steps {
		if len(step.Args) > 1 && strings.HasSuffix(fmt.Sprint(step.Args[0].Value), suffix) {
			return step.Args[1].Value.(string)
		}
	}
	t.Fatalf("the generator writes no %s", suffix)
	return ""
}

func TestAgentScriptsAreSoundShell(t *testing.T) {
	for _, agent := range []string{"lxd-agent", "incus-agent"} {
		soundShell(t, writtenBy(t, agent, "/"+agent+"-setup"))
		soundShell(t, writtenBy(t, agent, "/"+agent+"-generator"))
	}
}

// What is of the one server must not be in what is written for the other.
func TestAgentsKeepToTheirServer(t *testing.T) {
	for _, suffix := range []string{"-agent-setup", "-agent-generator", "-agent.service", "-agent.rules"} {
		for _, of := range []struct{ generator, foreign string }{{"lxd-agent", "incus"}, {"incus-agent", "lxd"}} {
			text := writtenBy(t, of.generator, suffix)
			if strings.Contains(strings.ToLower(text), of.foreign) || strings.Contains(text, "@") {
				t.Errorf("%s writes a file …%s with %q or @ in it:\n%s", of.generator, suffix, of.foreign, text)
			}
		}
	}
}

// The setup script is run in a root file system of busybox, where mount and its like note
// what they are asked. Where the share can be had from is what each case says.
func TestAgentSetup(t *testing.T) {
	const (
		virtiofs = "mount -t virtiofs config /run/lxd_agent.mnt -o ro\n"
		ninep    = "modprobe 9pnet_virtio\nmount -t 9p config /run/lxd_agent.mnt -o ro,access=0,trans=virtio,size=1048576\n"
		device   = "/dev/disk/by-id/scsi-0QEMU_QEMU_CD-ROM_lxd_agent"
		cdrom    = "mount " + device + " /run/lxd_agent.mnt -o ro\n"
		first    = "umount -l /run/lxd_agent.mnt\n"
		replaced = "umount -l /run/lxd_agent\nmount -t tmpfs tmpfs /run/lxd_agent -o mode=0700,nodev,nosuid,noatime,size=50M\n"
		copied   = "cp -a /run/lxd_agent.mnt/. /run/lxd_agent\n"
		owner    = "chown -R root:root /run/lxd_agent\n"
		last     = "umount /run/lxd_agent.mnt\n"
		forced   = last + first
	)
	standIns := map[string]string{
		"cp": `[ ! -e /fake/broken ] || { echo no space >&2; exit 1; }
exec busybox cp "$@"`,
		"mount": `case "$2" in
tmpfs) exit 0 ;;
virtiofs|9p) kind=$2 dir=$4 ;;
*) kind=cdrom dir=$2 ;;
esac
grep -qx "$kind" /fake/works || exit 32
cp -a /fake/share/. "$dir"`,
		"umount": `for dir in "$@"; do :; done
[ -n "$(ls "$dir" 2>/dev/null)" ] || exit 32
rm -r "$dir"/*`,
		"modprobe": "exit 1",
		"chown":    "",
		"eject":    "exit 1",
	}
	const files = "cd /run; find lxd_agent* | sort; stat -c '%a' lxd_agent; cat lxd_agent/agent.conf"
	const fetched = "lxd_agent\nlxd_agent/agent.conf\nlxd_agent/lxd-agent\nlxd_agent/systemd\nlxd_agent/systemd/unit\n700\nnew\n"
	const old = "mkdir /run/lxd_agent; echo old >/run/lxd_agent/agent.conf; touch /run/lxd_agent/lxd-agent; chmod +x /run/lxd_agent/lxd-agent; "
	tests := []struct {
		summary string
		works   string
		setup   string
		show    string
		want    string
	}{{
		summary: "virtiofs is tried first",
		works:   "virtiofs 9p cdrom",
		show:    files,
		want:    "status 0\n" + first + virtiofs + replaced + copied + owner + last + fetched,
	}, {
		summary: "then 9p, with or without its module",
		works:   "9p cdrom",
		show:    files,
		want:    "status 0\n" + first + virtiofs + ninep + replaced + copied + owner + last + fetched,
	}, {
		summary: "then the disc of older versions, which is ejected",
		works:   "cdrom",
		setup:   "mkdir -p /dev/disk/by-id; touch " + device + "; ",
		show:    files,
		want:    "status 0\n" + first + virtiofs + ninep + cdrom + replaced + copied + owner + last + "eject " + device + "\n" + fetched,
	}, {
		summary: "without a share nothing stays behind",
		show:    "ls /run",
		want:    "cannot mount the share of LXD\nstatus 1\n" + first + virtiofs + ninep + cdrom + "umount -l /run/lxd_agent\n" + forced,
	}, {
		summary: "not even what is no agent, and the disc is ejected",
		setup:   "mkdir -p /dev/disk/by-id /run/lxd_agent; touch " + device + "; ",
		show:    "ls /run",
		want:    "cannot mount the share of LXD\nstatus 1\n" + first + virtiofs + ninep + cdrom + "umount -l /run/lxd_agent\n" + forced + "eject " + device + "\n",
	}, {
		summary: "an agent that is here serves where the share is gone",
		setup:   old,
		show:    "ls /run; cat /run/lxd_agent/agent.conf",
		want:    "the share of LXD is gone, the agent is here already\nstatus 0\n" + first + virtiofs + ninep + cdrom + forced + "lxd_agent\nold\n",
	}, {
		summary: "an agent that is here is replaced where there is a share",
		works:   "virtiofs",
		setup:   old + "touch /run/lxd_agent/more; ",
		show:    files,
		want:    "status 0\n" + first + virtiofs + replaced + copied + owner + last + fetched,
	}, {
		summary: "what a run left that was cut short is no hindrance",
		works:   "virtiofs",
		setup:   "mkdir -p /run/lxd_agent.mnt; touch /run/lxd_agent.mnt/left; ",
		show:    files,
		want:    "status 0\n" + first + virtiofs + replaced + copied + owner + last + fetched,
	}, {
		summary: "a copy that fails is said, and the share let go",
		works:   "9p",
		setup:   "touch /fake/broken; ",
		show:    "ls -d /run/lxd_agent.mnt 2>/dev/null || echo gone",
		want:    "no space\nstatus 1\n" + first + virtiofs + ninep + replaced + copied + last + "gone\n",
	}, {
		summary: "with SELinux the files get their labels, or not",
		works:   "virtiofs",
		setup:   "printf '#!/bin/sh\\necho restorecon \"$@\" >>/log; exit 1\\n' >/stand-in/restorecon; chmod +x /stand-in/restorecon; ",
		want:    "status 0\n" + first + virtiofs + replaced + copied + owner + "restorecon -R /run/lxd_agent\n" + last,
	}}
	script := agentFile(t, "/lxd-agent-setup")
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			root := busyboxRoot(t, "sh cat chmod cp echo find grep ls mkdir printf rm rmdir sort stat touch [")
			for _, dir := range []string{"/stand-in", "/fake/share/systemd"} {
				if err := os.MkdirAll(root.Dir+dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			put := func(name, text string) {
				if err := os.WriteFile(filepath.Join(root.Dir, name), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			functions := "" // rather than programs found in PATH: busybox looks for its own first
			for name, text := range standIns {
				put("stand-in/"+name, "#!/bin/sh\necho "+name+` "$@" >>/log`+"\n"+text+"\n")
				functions += name + "() { /stand-in/" + name + " \"$@\"; }\n"
			}
			put("setup", strings.Replace(script, "set -eu\n", "set -eu\n"+functions, 1))
			put("fake/works", strings.ReplaceAll(test.works, " ", "\n")+"\n")
			put("fake/share/lxd-agent", "")
			put("fake/share/agent.conf", "new\n")
			put("fake/share/systemd/unit", "")
			text := "#!/bin/sh\nexport PATH=/stand-in:/bin\n" + test.setup + "\n/setup\necho status $?\ncat /log\n" + test.show + "\n"
			if out := runIn(t, root, text); out != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", out, test.want)
			}
		})
	}
}

// The system generator is run as systemd would, on machines with different boards.
func TestAgentGenerator(t *testing.T) {
	tests := []struct {
		summary, setup, want string
	}{
		{"a virtual machine of LXD", "echo LXD >/fake/board", "/lib/systemd/system/lxd-agent.service\n"},
		{"another virtual machine", "echo Standard PC, not LXD >/fake/board", ""},
		{"a container", "true", ""},
	}
	script := strings.Replace(agentFile(t, "/lxd-agent-generator"), "/sys/class/dmi/id/board_name", "/fake/board", 1)
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			root := busyboxRoot(t, "sh echo grep ln ls mkdir readlink [")
			if err := os.WriteFile(root.Dir+"/generator", []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			// Twice: systemd runs generators again when it is reloaded.
			text := "#!/bin/sh\nset -e\nPATH=/bin\n" + test.setup + "\nmkdir /tmp/n\n/generator /tmp/n /tmp/e /tmp/l\n/generator /tmp/n /tmp/e /tmp/l\n" +
				"for f in /tmp/*/*.wants/lxd-agent.service; do readlink $f || true; done\n"
			if out := runIn(t, root, text); out != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", out, test.want)
			}
		})
	}
}

// runIn runs a script in a root file system and returns what it prints.
func runIn(t *testing.T, root *sandbox.Stack, script string) string {
	t.Helper()
	var out bytes.Buffer
	programs := sandbox.Programs{List: []sandbox.Program{{Script: script}}}
	if err := sandbox.Run(context.Background(), sandbox.Spec{Root: root}, programs, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return out.String()
}

// What systemd thinks of the unit, where there is one to be asked.
func TestAgentUnitIsSound(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs systemd-analyze")
	}
	// Units and programs that it names need not be here.
	unit := strings.NewReplacer("/lib/systemd/lxd-agent-setup", "/bin/true", "/run/lxd_agent/lxd-agent", "/bin/true").
		Replace(agentFile(t, "/lxd-agent.service"))
	name := filepath.Join(t.TempDir(), "lxd-agent.service")
	if err := os.WriteFile(name, []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", name)
	cmd.Env = append(os.Environ(), "SYSTEMD_LOG_LEVEL=warning")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
