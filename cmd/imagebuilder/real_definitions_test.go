package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A realDefinition is one that is built from a mirror that can be reached here.
type realDefinition struct {
	name string
	args []string // definition and what is set in it
}

// realDefinitions returns the project's own definition of Debian and, where the real ones
// are at hand, those.
func realDefinitions(t *testing.T) []realDefinition {
	t.Helper()
	archive, security := mirrors(t)
	debian := func(file string) []string {
		return []string{file, "-o", "image.release=bookworm", "-o", "source.url=" + archive, "-o", "packages.repositories.0.url=deb " +
			archive + " bookworm main\ndeb " + archive + " bookworm-updates main\ndeb " + security + " bookworm-security main"}
	}
	all := []realDefinition{{"own", debian("../../testdata/definitions/debian.yaml")}}
	const others = "../../../shared/definitions"
	if _, err := os.Stat(others); err != nil {
		t.Logf("without the real definitions: %v", err)
		return all
	}
	all = append(all, realDefinition{"debian", debian(others + "/debian.yaml")})
	const ubuntu = "http://archive.ubuntu.com/ubuntu/dists/noble/InRelease"
	if resp, err := http.Head(ubuntu); err != nil || resp.StatusCode != http.StatusOK {
		t.Logf("without ubuntu.yaml: %s cannot be had: %v", ubuntu, err)
		return all
	}
	return append(all, realDefinition{"ubuntu", []string{others + "/ubuntu.yaml", "-o", "image.release=noble"}})
}

// build runs a command of lxd-imagebuilder on the definition.
func (d realDefinition) build(t *testing.T, command, out string, flags ...string) {
	t.Helper()
	args := append([]string{command, "--cache", sharedCache(t)}, flags...)
	args = append(args, d.args...)
	output(t, nil, "lxd-imagebuilder", append(args, out)...)
}

// Images of definitions, split and in one file, import into LXD and boot.
func TestDefinitionsBootInLXD(t *testing.T) {
	definitions := realDefinitions(t)
	lxd := startLXD(t)
	for _, d := range definitions {
		for _, form := range []string{"split", "unified"} {
			t.Run(d.name+"/"+form, func(t *testing.T) {
				out := t.TempDir()
				for _, v := range lxd.env { // --import-into-lxd finds the daemon by it
					name, value, _ := strings.Cut(v, "=")
					if name == "LXD_DIR" {
						t.Setenv(name, value)
					}
				}
				d.build(t, "build-lxd", out, "--type", form, "--compression", "zstd-1", "--import-into-lxd=image")
				t.Cleanup(func() { lxd.lxc(t, "image", "delete", "image") })
				lxd.checkContainer(t, "image")
			})
		}
	}
}

// Images of definitions make containers of LXC.
func TestDefinitionsBootInLXC(t *testing.T) {
	definitions := realDefinitions(t)
	need(t, "lxc-create", "lxc")
	needCgroups(t)
	for _, d := range definitions {
		t.Run(d.name, func(t *testing.T) {
			out, containers := t.TempDir(), t.TempDir()
			d.build(t, "build-lxc", out, "--compression", "xz-0")
			output(t, nil, "lxc-create", "-P", containers, "-n", "c1", "-t", "local", "--",
				"--metadata", out+"/meta.tar.xz", "--fstree", out+"/rootfs.tar.xz")
			withoutNetwork(t, filepath.Join(containers, "c1/config"))
			output(t, nil, "lxc-start", "-P", containers, "-n", "c1")
			defer output(t, nil, "lxc-stop", "-P", containers, "-n", "c1", "--kill")
			checkInside(t, func(script string) string {
				out, _ := exec.Command("lxc-attach", "-P", containers, "-n", "c1", "--clear-env", "--", "sh", "-c", script).CombinedOutput()
				return strings.TrimSpace(string(out))
			})
		})
	}
}

// withoutNetwork takes the bridge out of a container's configuration: this machine may
// have none.
func withoutNetwork(t *testing.T, config string) {
	t.Helper()
	data, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if !strings.HasPrefix(line, "lxc.net.") {
			lines = append(lines, line)
		}
	}
	lines = append(lines, "lxc.net.0.type = empty\n")
	if err := os.WriteFile(config, []byte(strings.Join(lines, "")), 0o644); err != nil {
		t.Fatal(err)
	}
}
