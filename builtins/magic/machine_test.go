package magic_test

import (
	"testing"

	"imagebuilder/builtins/magic"
)

func TestPrograms(t *testing.T) {
	for name, want := range map[string]int{"aarch64": 4, "riscv64": 2, "ppc64le": 2, "ppc64": 2, "vax": 0} {
		heads := magic.Programs(name)
		if len(heads) != want {
			t.Errorf("%s: %d beginnings, want %d", name, len(heads), want)
		}
		for _, head := range heads {
			if got := magic.Machine(head); got != name {
				t.Errorf("the beginning of a program for %s is one for %q", name, got)
			}
		}
	}
}
