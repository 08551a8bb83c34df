package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"imagebuilder/builtins/build"
)

// debootstrapPlan plans a recipe of one call of debootstrap, on a machine that has all but
// arch-test. It returns the steps as JSON and what is missing.
func debootstrapPlan(t *testing.T, img, args string) (string, []error) {
	t.Helper()
	config := testConfig()
	config.Stdin = strings.NewReader(fmt.Sprintf(`load("@stdlib//sources/debian.star", "debootstrap")
def main():
    debootstrap(image("debian", "bookworm", %s), %s)
`, img, args))
	r, err := Load(context.Background(), "-", config)
	if err != nil {
		t.Fatal(Explain(err))
	}
	planner := &build.Planner{Has: func(name string) bool { return name != "arch-test" }}
	if err := r.PlanOn(planner); err != nil {
		t.Fatal(Explain(err))
	}
	plan, err := json.Marshal(planner.Steps)
	if err != nil {
		t.Fatal(err)
	}
	return string(plan), planner.Missing()
}

// Whatever a definition calls an architecture, debootstrap and mmdebstrap are told what dpkg
// calls it, and nothing is asked for that only emulation needs where there is none.
func TestDebootstrapArchitecture(t *testing.T) {
	for _, test := range []struct {
		given, tool string
		flags       []string // of the tool
		missing     bool     // arch-test
	}{
		{"x86_64", "mmdebstrap", []string{"--architectures=amd64"}, false},
		{"amd64", "mmdebstrap", []string{"--architectures=amd64"}, false},
		{"i686", "mmdebstrap", []string{"--architectures=i386", "--skip=check/qemu"}, false},
		{"aarch64", "mmdebstrap", []string{"--architectures=arm64"}, true},
		{"x86_64", "debootstrap", []string{"--arch=amd64"}, false},
		{"i386", "debootstrap", []string{"--arch=i386"}, false},
		{"aarch64", "debootstrap", []string{"--arch=arm64"}, false},
		{"riscv64", "debootstrap", []string{"--arch=riscv64"}, false},
	} {
		plan, missing := debootstrapPlan(t, fmt.Sprintf("architecture = %q, mapped_to = %q", test.given, test.given), fmt.Sprintf("tool = %q", test.tool))
		for _, flag := range append(test.flags, test.tool) {
			if !strings.Contains(plan, `"`+flag+`"`) {
				t.Errorf("%s by %s: no %s in %s", test.given, test.tool, flag, plan)
			}
		}
		if strings.Contains(plan, "check/qemu") != (len(test.flags) > 1) {
			t.Errorf("%s by %s: %s", test.given, test.tool, plan)
		}
		if (len(missing) > 0) != test.missing {
			t.Errorf("%s by %s: missing is %v", test.given, test.tool, missing)
		}
	}
}

// Where the archive is a directory, only debootstrap finds it.
func TestDebootstrapFromHere(t *testing.T) {
	for url, tool := range map[string]string{"file:///srv/debian": "debootstrap", "http://x.org/debian": "mmdebstrap"} {
		plan, _ := debootstrapPlan(t, "", fmt.Sprintf("%q", url))
		if want := `["` + tool + `",`; !strings.Contains(plan, want) {
			t.Errorf("%s: no %s in %s", url, want, plan)
		}
	}
}
