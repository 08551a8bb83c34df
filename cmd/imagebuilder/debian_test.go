package main

import (
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

// The Debian package is made of .debian and of what make install installs.

// Its version is that of the tool, and it recommends or suggests all that the tool may run.
func TestDebianControl(t *testing.T) {
	changelog, err := os.ReadFile("../../.debian/changelog")
	if err != nil {
		t.Fatal(err)
	}
	if want := "imagebuilder (" + version + ") "; !strings.HasPrefix(string(changelog), want) {
		t.Errorf(".debian/changelog does not begin with %q, as version.go says", want)
	}
	control, err := os.ReadFile("../../.debian/control")
	if err != nil {
		t.Fatal(err)
	}
	essential := []string{"gzip", "tar"}
	named := essential
	for _, field := range regexp.MustCompile(`(?m)^(?:Depends|Recommends|Suggests): (.*)$`).FindAllSubmatch(control, -1) {
		named = append(named, regexp.MustCompile(`[,| ]+`).Split(string(field[1]), -1)...)
	}
	for _, tool := range host.Tools() {
		if !slices.Contains(named, tool.Package) {
			t.Errorf(".debian/control names no package %s, which has %s", tool.Package, tool.Name)
		}
	}
}

// systemd takes the units as they are installed.
func TestUnits(t *testing.T) {
	need(t, "systemd-analyze", "systemd")
	units, err := filepath.Glob("../../streams/systemd/*")
	if err != nil || len(units) == 0 {
		t.Fatalf("no units: %v", err)
	}
	if err := verifyUnits(t.TempDir(), units...); err != nil {
		t.Error(err)
	}
}

// verifyUnits lets systemd read copies of units, in a directory, whose programs are where
// the tests have them, and parses the command lines.
func verifyUnits(dir string, units ...string) error {
	program, err := exec.LookPath("imagebuilder")
	if err != nil {
		return err
	}
	var files []string
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			return err
		}
		for _, words := range unitCommands(string(text)) {
			if err := tryCommand(words, dir); err != nil {
				return fmt.Errorf("%s: %s: %w", filepath.Base(unit), strings.Join(words, " "), err)
			}
		}
		text = regexp.MustCompile(`(?m)^(Exec\w+=)imagebuilder `).ReplaceAll(text, []byte("${1}"+program+" "))
		text = regexp.MustCompile(`(?m)^Documentation=.*\n`).ReplaceAll(text, nil) // systemd looks for the pages
		file := filepath.Join(dir, filepath.Base(unit))
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
		files = append(files, file)
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--recursive-errors=no"}, files...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		return fmt.Errorf("systemd-analyze verify %s: %v\n%s", strings.Join(units, " "), err, out)
	}
	return nil
}

// unitCommands returns the command lines of a unit, with the variables that it sets.
func unitCommands(unit string) [][]string {
	variables := map[string]string{"STATE_DIRECTORY": "state"}
	for _, line := range regexp.MustCompile(`(?m)^Environment=(.*)$`).FindAllStringSubmatch(unit, -1) {
		assignments := strings.Fields(line[1])
		if quoted, ok := strings.CutPrefix(line[1], `"`); ok {
			assignments = []string{strings.TrimSuffix(quoted, `"`)}
		}
		for _, assignment := range assignments {
			name, value, _ := strings.Cut(assignment, "=")
			variables[name] = value
		}
	}
	var commands [][]string
	for _, line := range regexp.MustCompile(`(?m)^Exec\w+=(.*)$`).FindAllStringSubmatch(unit, -1) {
		text := os.Expand(line[1], func(name string) string { return variables[name] })
		commands = append(commands, strings.Fields(text))
	}
	return commands
}

// The package is built, passes lintian, and is installed and removed in a clean Debian.
func TestRealDebianPackage(t *testing.T) {
	needAll(t)
	for program, pkg := range map[string]string{"dh": "debhelper", "dpkg-buildpackage": "dpkg-dev", "lintian": "lintian"} {
		need(t, program, pkg)
	}
	root := cleanDebian(t)
	output(t, nil, "../../.debian/build", root.dir+"/srv")
	root.run(t, `set -eux
apt-get update -q
apt-get install -q -y --no-install-recommends /srv/imagebuilder_*.deb
imagebuilder version
imagebuilder check debian
lxd-imagebuilder --help
simplestream-maintainer --help
test -e /usr/lib/systemd/system/imagebuilder-image-server.timer
test -e /usr/share/bash-completion/completions/imagebuilder
apt-get purge -q -y imagebuilder
test ! -e /usr/bin/imagebuilder
test ! -e /usr/bin/lxd-imagebuilder
test ! -e /usr/lib/systemd/system/imagebuilder-image-server.timer
`)
}
