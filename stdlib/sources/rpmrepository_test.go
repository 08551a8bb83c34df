package sources_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Repositories of small RPM packages, built by the real tools.

// An rpm is a package to be built.
type rpm struct {
	name, version string
	requires      string            // another package
	files         map[string]string // with mode 0755 where they begin with "#!"
	post          string            // script to run after it is installed
}

// rpmSystem are packages of which dnf makes a root file system with a shell: what
// a distribution calls so, and dnf and yum, that each leave a file.
func rpmSystem(version string) []rpm {
	list := []rpm{{name: "filesystem", version: version, files: map[string]string{"etc/os-release": "ID=test\nVERSION_ID=" + version + "\n", "bin/sh": ""}}}
	for _, name := range []string{"basesystem", "dnf", "yum", "extra", "unwanted"} {
		list = append(list, rpm{
			name: name, version: version, requires: "filesystem",
			files: map[string]string{"usr/share/" + name: version + "\n"},
			post:  "ls /dev /proc/self/exe >/etc/" + name + ".post\necho lost >/dev/null\n",
		})
	}
	return list
}

// rpms builds packages, has them signed if there is a key of GnuPG, and puts the repository
// with them on the mirror.
func (m *mirror) rpms(t *testing.T, name string, key *gnupg, packages ...rpm) {
	t.Helper()
	needTools(t, "rpmbuild", "rpm", "createrepo_c", "createrepo-c", "/bin/busybox", "busybox-static")
	top := t.TempDir()
	args := []string{"-bb", "--quiet", "--define", "_topdir " + top}
	for _, p := range packages {
		args = append(args, p.spec(top))
	}
	output(t, nil, "rpmbuild", args...)
	dir := filepath.Join(top, "RPMS/noarch")
	if key != nil {
		key.sign(t, dir)
	}
	output(t, nil, "createrepo_c", "--quiet", dir)
	m.putDir(name, dir)
}

// spec writes what the package is built from to a file below top.
func (p rpm) spec(top string) string {
	// A shell is a binary: noarch packages may have one only if that is said.
	spec := "%define _binaries_in_noarch_packages_terminate_build 0\n%define debug_package %{nil}\n%define __os_install_post %{nil}\n"
	spec += fmt.Sprintf("Name: %s\nVersion: %s\nRelease: 1\nSummary: a test\nLicense: none\nBuildArch: noarch\nAutoReqProv: no\n", p.name, p.version)
	if p.requires != "" {
		spec += "Requires: " + p.requires + "\nRequires(post): " + p.requires + "\n"
	}
	spec += "%description\na test\n%install\n"
	files := ""
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		source := filepath.Join(top, strings.ReplaceAll(name, "/", "_"))
		must(os.WriteFile(source, []byte(p.files[name]), 0o644))
		mode := "0644"
		if strings.HasPrefix(p.files[name], "#!") {
			mode = "0755"
		}
		if name == "bin/sh" {
			source, mode = "/bin/busybox", "0755"
			for _, applet := range []string{"ls", "cat"} {
				spec += "mkdir -p %{buildroot}/bin; ln -s sh %{buildroot}/bin/" + applet + "\n"
				files += "/bin/" + applet + "\n"
			}
		}
		spec += fmt.Sprintf("install -D -m %s %s %%{buildroot}/%s\n", mode, source, name)
		files += "/" + name + "\n"
	}
	spec += "%files\n" + files
	if p.post != "" {
		spec += "%post\n" + p.post
	}
	file := filepath.Join(top, p.name+".spec")
	must(os.WriteFile(file, []byte(spec), 0o644))
	return file
}

// A gnupg is a key of GnuPG, which rpmsign wants.
type gnupg struct{ home, key string }

func newGnupg(t *testing.T) *gnupg {
	t.Helper()
	needTools(t, "gpg", "gnupg", "rpmsign", "rpm")
	home, err := os.MkdirTemp("", "gpg") // the names of its sockets must be short
	must(err)
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		os.RemoveAll(home)
	})
	k := &gnupg{home: home}
	k.gpg(t, "--batch", "--passphrase", "", "--quick-gen-key", "packages@example.org", "rsa2048", "sign", "never")
	k.key = k.gpg(t, "--armor", "--export")
	return k
}

func (k *gnupg) gpg(t *testing.T, args ...string) string {
	t.Helper()
	return output(t, []string{"GNUPGHOME=" + k.home}, "gpg", args...)
}

// sign signs all packages of a directory.
func (k *gnupg) sign(t *testing.T, dir string) {
	t.Helper()
	packages, err := filepath.Glob(dir + "/*.rpm")
	must(err)
	output(t, []string{"GNUPGHOME=" + k.home}, "rpmsign", append([]string{"--define", "__gpg /usr/bin/gpg", "--define", "_gpg_name packages@example.org", "--addsign"}, packages...)...)
}

// putDir adds all files of a directory of this machine.
func (m *mirror) putDir(name, dir string) {
	must(filepath.WalkDir(dir, func(file string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		must(err)
		data, err := os.ReadFile(file)
		m.put(name+"/"+filepath.ToSlash(rel), data)
		return err
	}))
}

// needTools skips the test where a program is missing, which a Debian package brings.
func needTools(t *testing.T, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if _, err := exec.LookPath(pairs[i]); err != nil {
			t.Skipf("needs %s of the Debian package %s", pairs[i], pairs[i+1])
		}
	}
}

// output runs a program and returns what it prints.
func output(t *testing.T, env []string, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		said := ""
		if exit, ok := err.(*exec.ExitError); ok {
			said = string(exit.Stderr)
		}
		t.Fatalf("%s %q: %v\n%s%s", program, args, err, out, said)
	}
	return string(out)
}
