package main

import (
	"os"
	"path/filepath"
	"testing"

	"imagebuilder/builtins/digest"
)

// From one lock, root and an ordinary user make the same container image and the same disk of
// Debian, and the disk of the user boots.
func TestRealRootless(t *testing.T) {
	needAll(t)
	archive, security := mirrors(t)
	needDisks(t)
	m := newUserMachine(t, "")
	output(t, nil, "sh", "-c", `cp "$0"/* "$1"; chmod -R a+rX "$1"`, filepath.Dir(reporting(t)), m.home())
	roots := t.TempDir()
	for _, kind := range []string{"container", "vm"} {
		options := []string{"-o", "type=" + kind, "-o", "release=bookworm", "-o", "mirror=" + archive, "-o", "security_mirror=" + security, "-o", "compression=zstd-1"}
		own := append(options, "--cache", filepath.Join(roots, "cache"))
		const at = `cd "$0" && exec imagebuilder "$@"` // provenance has the name that the recipe is run by
		output(t, nil, "sh", append([]string{"-c", at, m.home(), "lock", "vm.star"}, own...)...)
		output(t, nil, "sh", append([]string{"-c", at, m.home(), "run", "--locked", "vm.star", filepath.Join(roots, kind)}, own...)...)
		cmd := m.command("chmod a+r vm.lock", `exec "$tool" run --locked vm.star "$@"`, append([]string{kind}, options...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		results, err := os.ReadDir(filepath.Join(roots, kind))
		if err != nil || len(results) < 2 {
			t.Fatalf("root has made %v, %v", results, err)
		}
		for _, r := range results {
			was, _, err := digest.File(filepath.Join(roots, kind, r.Name()))
			must(t, err)
			is, _, err := digest.File(filepath.Join(m.home(), kind, r.Name()))
			must(t, err)
			if was != is {
				t.Errorf("%s differs: %v, and %v without root", r.Name(), was, is)
			}
		}
	}
	imagebuilder(t, "boot", filepath.Join(m.home(), "vm", "disk.qcow2"), "--expect", "report: fine", "--timeout", bootLimit)
}
