package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"imagebuilder/builtins/build"
)

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
		config := testConfig()
		config.Stdin = strings.NewReader(fmt.Sprintf(`load("@stdlib//sources/debian.star", "debootstrap")
def main():
    debootstrap(image("debian", "bookworm", architecture = %q, mapped_to = %q), tool = %q)
`, test.given, test.given, test.tool))
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
		for _, flag := range append(test.flags, test.tool) {
			if !strings.Contains(string(plan), `"`+flag+`"`) {
				t.Errorf("%s by %s: no %s in %s", test.given, test.tool, flag, plan)
			}
		}
		if strings.Contains(string(plan), "check/qemu") != (len(test.flags) > 1) {
			t.Errorf("%s by %s: %s", test.given, test.tool, plan)
		}
		if missing := planner.Missing(); (len(missing) > 0) != test.missing {
			t.Errorf("%s by %s: missing is %v", test.given, test.tool, missing)
		}
	}
}
