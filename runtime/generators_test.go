package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/flosch/pongo2/v6"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/pack"
	"imagebuilder/builtins/sandbox"
)

func TestMain(m *testing.M) {
	if code, ok := sandbox.Main(build.Tasks()...); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// planText plans the text of a recipe.
func planText(t *testing.T, text string) *build.Planner {
	t.Helper()
	config := testConfig()
	config.Stdin = strings.NewReader(text)
	r, err := Load(context.Background(), "-", config)
	if err != nil {
		t.Fatal(Explain(err))
	}
	planner, err := r.Plan()
	if err != nil {
		t.Fatal(Explain(err))
	}
	return planner
}

// cloudInit returns the template that the generator makes for LXD.
func cloudInit(t *testing.T, args string) pack.Template {
	t.Helper()
	steps := planText(t, fmt.Sprintf("def main():\n    generate(fork(rootfs(image('x')), 'lxd'), 'cloud-init', %s)\n", args)).Steps
	return steps[0].Args[0].Value.(pack.Template)
}

// render renders a template as LXD does: without escaping, with the instance's
// configuration behind config_get, which strips final line breaks of what is set.
func render(t *testing.T, tpl pack.Template, kind string, config map[string]string) string {
	t.Helper()
	set := pongo2.NewSet("lxd", pongo2.MustNewLocalFileSystemLoader(""))
	parsed, err := set.FromString("{% autoescape off %}" + tpl.Content + "{% endautoescape %}")
	if err != nil {
		t.Fatal(err)
	}
	instance := map[string]string{"name": "c1", "type": kind}
	out, err := parsed.Execute(pongo2.Context{
		"container":  instance,
		"instance":   instance,
		"properties": tpl.Properties,
		"config_get": func(key, missing *pongo2.Value) *pongo2.Value {
			if value, ok := config[key.String()]; ok {
				return pongo2.AsValue(strings.TrimRight(value, "\r\n"))
			}
			return missing
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What LXD makes of the cloud-init templates, in every situation an instance can be in.
func TestCloudInitDocuments(t *testing.T) {
	const defaultNetwork = "version: 1\nconfig:\n  - type: physical\n    name: eth0\n    subnets:\n      - type: dhcp\n        control: auto\n"
	type config = map[string]string
	tests := []struct {
		summary string
		args    string
		kind    string
		config  config
		want    string
	}{
		{"user-data, nothing set", "name = 'user-data'", "container", nil, "#cloud-config\n{}\n"},
		{"a default that ends in a newline gives a blank line", "name = 'user-data', content = 'x\\n'", "container", nil, "x\n\n"},
		{"only user.user-data", "name = 'user-data'", "container", config{"user.user-data": "U\n"}, "U\n"},
		{"cloud-init.user-data", "name = 'user-data'", "container", config{"cloud-init.user-data": "C"}, "C\n"},
		{"both", "name = 'user-data'", "container", config{"cloud-init.user-data": "C", "user.user-data": "U"}, "C\n"},
		{"the default counts as unset", "name = 'user-data'", "container", config{"cloud-init.user-data": "#cloud-config\n{}", "user.user-data": "U"}, "U\n"},
		{"the empty string does not", "name = 'user-data'", "container", config{"cloud-init.user-data": "", "user.user-data": "U"}, "\n"},
		{"properties without a default", "name = 'user-data', properties = {'a': 'b'}", "container", nil, "\n"},
		{"vendor-data", "name = 'vendor-data'", "container", config{"user.vendor-data": "V"}, "V\n"},
		{"meta-data", "name = 'meta-data'", "container", nil, "instance-id: c1\nlocal-hostname: c1\n\n"},
		{"meta-data and more", "name = 'meta-data'", "container", config{"user.meta-data": "U\n"}, "instance-id: c1\nlocal-hostname: c1\nU\n"},
		{"network-config", "name = 'network-config'", "container", nil, defaultNetwork},
		{"network-config of a VM", "name = 'network-config'", "virtual-machine", nil, strings.Replace(defaultNetwork, "eth0", "enp5s0", 1)},
		{"the empty string counts as unset here", "name = 'network-config'", "container", config{"cloud-init.network-config": "", "user.network-config": ""}, defaultNetwork},
		{"only user.network-config", "name = 'network-config'", "container", config{"user.network-config": "U"}, "U\n"},
		{"cloud-init.network-config", "name = 'network-config'", "container", config{"cloud-init.network-config": "C", "user.network-config": "U"}, "C\n"},
		{"other content, with template code and percents", "name = 'network-config', content = '\\n {% if 1 %}100%s{% endif %} \\n'", "container", nil, "100%s\n"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			if got := render(t, cloudInit(t, test.args), test.kind, test.config); got != test.want {
				t.Errorf("got:\n%q\nwant:\n%q", got, test.want)
			}
		})
	}
}

// busyboxRoot is a root file system of busybox with these of its programs.
func busyboxRoot(t *testing.T, applets string) *sandbox.Stack {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a sandbox")
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs /bin/busybox (Debian package busybox-static)")
	}
	dir := t.TempDir()
	for _, d := range []string{"root/bin", "root/etc", "root/sbin", "root/lib", "root/usr/bin", "root/usr/sbin", "root/fake", "point"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	err = errors.Join(err, os.WriteFile(dir+"/root/bin/busybox", busybox, 0o755))
	for _, applet := range strings.Fields(applets) {
		err = errors.Join(err, os.Symlink("busybox", dir+"/root/bin/"+applet))
	}
	if err != nil {
		t.Fatal(err)
	}
	return &sandbox.Stack{Dir: dir + "/root", Point: dir + "/point"}
}

// systemGenerator returns the script that the generator installs.
func systemGenerator(t *testing.T) string {
	t.Helper()
	for _, arg := range planText(t, "def main():\n    generate(rootfs(image('x')), 'system-generator')\n").Steps[0].Args {
		if arg.Name == "content" {
			return arg.Value.(string)
		}
	}
	t.Fatal("the generator writes nothing")
	return ""
}

func TestSystemGeneratorIsSoundShell(t *testing.T) {
	soundShell(t, systemGenerator(t), "--exclude=SC1091,SC2046")
}

// soundShell checks a script for any POSIX shell.
func soundShell(t *testing.T, script string, options ...string) {
	t.Helper()
	if _, err := exec.LookPath("shellcheck"); err != nil {
		t.Skip("needs shellcheck")
	}
	cmd := exec.Command("shellcheck", append([]string{"--shell=sh", "-"}, options...)...)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The script is run as systemd would, in a root file system of busybox where the files
// it looks at are what each case says. What it has made in /run is listed.
func TestSystemGenerator(t *testing.T) {
	const masks = "dev-hugepages.mount run-ribchester-general.mount systemd-binfmt.service systemd-firstboot.service " +
		"systemd-hwdb-update.service systemd-journald-audit.socket systemd-modules-load.service systemd-pstore.service ua-messaging.service"
	systemd := func(version string) string {
		return "mkdir -p /usr/lib/systemd; printf '#!/bin/sh\\necho \"systemd " + version + "\"\\n' >/usr/lib/systemd/systemd; chmod +x /usr/lib/systemd/systemd; "
	}
	const unprivileged = "echo '0 1000000 1000000000' >/fake/uid_map; "
	tests := []struct {
		summary string
		setup   string
		show    string // shell that prints what is compared
		want    string
	}{{
		summary: "a virtual machine of LXD is left alone",
		setup:   "mkdir /dev/virtio-ports; touch /dev/virtio-ports/com.canonical.lxd; ",
		show:    "ls /run",
	}, {
		summary: "what is no container is left alone",
		setup:   "echo nothing >/fake/environ; ",
		show:    "ls /run",
	}, {
		summary: "a current systemd gets one drop-in for all services",
		setup:   systemd("257 (257.8-1)") + unprivileged,
		show:    "cat /run/systemd/system/service.d/zzz-lxc-service.conf",
		want: "[Service]\nProcSubset=all\nProtectProc=default\nProtectControlGroups=no\nProtectKernelTunables=no\nNoNewPrivileges=no\n" +
			"LoadCredential=\nPrivateNetwork=no\nImportCredential=\n",
	}, {
		summary: "a privileged container needs more",
		setup:   systemd("255.4~rc1"),
		show:    "cat /run/systemd/system/service.d/zzz-lxc-service.conf",
		want: "[Service]\nProcSubset=all\nProtectProc=default\nProtectControlGroups=no\nProtectKernelTunables=no\nNoNewPrivileges=no\n" +
			"LoadCredential=\nPrivateNetwork=no\nProtectHome=no\nProtectSystem=no\nPrivateDevices=no\nPrivateTmp=no\n" +
			"ProtectKernelLogs=no\nProtectKernelModules=no\nReadWritePaths=\nImportCredential=\n",
	}, {
		summary: "an old systemd gets one for each service",
		setup:   systemd("241-7~deb10u8") + unprivileged + "mkdir -p /etc/systemd/system /lib/systemd/user; touch /etc/systemd/system/a.service /lib/systemd/user/b.service; ",
		show:    "cd /run/systemd; ls -d */*.service.d/zzz-lxc-service.conf; cat system/a.service.d/*",
		want: "system/a.service.d/zzz-lxc-service.conf\nuser/b.service.d/zzz-lxc-service.conf\n" +
			"[Service]\nProtectControlGroups=no\nProtectKernelTunables=no\nNoNewPrivileges=no\n",
	}, {
		summary: "without a systemd to be found nothing fails",
		show:    "ls /run/systemd/system",
		want: strings.Replace(strings.ReplaceAll(masks, " ", "\n"), "ua-messaging", "systemd-sysctl.service.d\nua-messaging", 1) +
			"\nvconsole-setup-kludge@tty1.service\n",
	}, {
		summary: "nested, services are left alone",
		setup:   systemd("257") + "mkdir /dev/.lxc; ",
		show:    "ls -d /run/systemd/system/service.d 2>/dev/null || echo none",
		want:    "none\n",
	}, {
		summary: "Fedora without privilege keeps /sys and /proc as they are",
		setup:   systemd("257") + unprivileged + "echo ID=fedora >/etc/os-release; ",
		show:    "cd /run/systemd/system; ls -d *.d; cat systemd-networkd.service.d/*",
		want: "service.d\nsystemd-networkd.service.d\nsystemd-resolved.service.d\nsystemd-sysctl.service.d\n" +
			"# This file was created by imagebuilder\n[Service]\nBindReadOnlyPaths=/sys /proc\n",
	}, {
		summary: "with privilege it does not",
		setup:   systemd("257") + "echo ID=arch >/etc/os-release; ",
		show:    "cd /run/systemd/system; ls -d *.d",
		want:    "service.d\nsystemd-sysctl.service.d\n",
	}, {
		summary: "udev is triggered by the first udevadm there is",
		setup:   "touch /sbin/udevadm /bin/udevadm; ",
		show:    "cat /run/systemd/system/systemd-udev-trigger.service.d/zzz-lxc-override.conf",
		want: "# This file was created by imagebuilder\n[Service]\nExecStart=\nExecStart=-/sbin/udevadm trigger --type=subsystems --action=add\n" +
			"ExecStart=-/sbin/udevadm trigger --type=devices --action=add\n",
	}, {
		summary: "sysctl failures are ignored",
		setup:   "mkdir -p /usr/lib/systemd; touch /usr/lib/systemd/systemd-sysctl; ",
		show:    "cat /run/systemd/system/systemd-sysctl.service.d/zzz-lxc-override.conf",
		want:    "# This file was created by imagebuilder\n[Service]\nExecStart=\nExecStart=-/usr/lib/systemd/systemd-sysctl\n",
	}, {
		summary: "masks are links to /dev/null; with a tty1 its console setup stays",
		setup:   "touch /dev/tty1; ",
		show:    "cd /run/systemd/system; for f in *; do [ -L $f ] && echo $f $(readlink $f); done",
		want:    strings.ReplaceAll(masks, " ", " /dev/null\n") + " /dev/null\n",
	}, {
		summary: "veth interfaces are managed where there is udev",
		setup:   "mkdir /etc/udev; ",
		show:    "cat /run/udev/rules.d/90-lxc-net.rules",
		want: "# This file was created by imagebuilder\n" +
			`ACTION=="add|change|move", ENV{ID_NET_DRIVER}=="veth", ENV{INTERFACE}=="eth[0-9]*", ENV{NM_UNMANAGED}="0"` + "\n",
	}, {
		summary: "NetworkManager gets an interface that is down",
		setup:   "touch /usr/sbin/NetworkManager /sbin/ip; mkdir -p /fake/net/eth0; ",
		show:    "cd /run/systemd/system; grep -v '^#' network-device-down.service; readlink default.target.wants/network-device-down.service",
		want: "[Unit]\nDescription=Take eth0 down before the network is managed\nBefore=NetworkManager.service\nBefore=systemd-networkd.service\n\n" +
			"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecCondition=/bin/sh -c '! /usr/bin/grep -qs 00000000.0100FEA9 /proc/net/route'\n" +
			"ExecStart=-/sbin/ip link set eth0 down\n\n[Install]\nWantedBy=default.target\n/run/systemd/system/network-device-down.service\n",
	}, {
		summary: "unless there is no interface",
		setup:   "touch /usr/sbin/NetworkManager /sbin/ip; ",
		show:    "ls -d /run/systemd/system/network-device-down.service 2>/dev/null || echo none",
		want:    "none\n",
	}, {
		summary: "or the administrator has masked the unit",
		setup: "touch /usr/sbin/NetworkManager /sbin/ip; mkdir -p /fake/net/eth0 /etc/systemd/system; " +
			"ln -s /dev/null /etc/systemd/system/network-device-down.service; ",
		show: "readlink /run/systemd/system/network-device-down.service",
		want: "/dev/null\n",
	}}
	script := strings.NewReplacer("/proc/1/environ", "/fake/environ", "/proc/self/uid_map", "/fake/uid_map", "/sys/class/net", "/fake/net").
		Replace(systemGenerator(t))
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			root := busyboxRoot(t, "sh cat chmod echo find grep head ln ls mkdir printf readlink rm touch [")
			if err := os.WriteFile(root.Dir+"/generator", []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			text := "#!/bin/sh\nset -e\nPATH=/bin\nprintf 'a=b\\0container=lxc\\0' >/fake/environ\necho '         0          0 4294967295' >/fake/uid_map\n" +
				test.setup + "\n/generator\n" + test.show + "\n"
			if out := runIn(t, root, text); out != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", out, test.want)
			}
		})
	}
}
