package compat

import (
	"strings"
	"testing"

	"imagebuilder/builtins/lxd"
)

// An image for Incus is one for LXD by other names, whichever of the two tools a definition
// was written for; and of two settings the one counts that is for what is built.
func TestServers(t *testing.T) {
	const agents = minimal + "files: [{generator: lxd-agent, types: [vm]}, {generator: incus-agent, types: [vm]}," +
		"{generator: template, path: /t, name: t, pongo: true, content: x}]\n"
	tests := []struct {
		summary, targets string
		server           lxd.Server
		want             []string
		never            string
	}{
		{"LXD", "", "", []string{"packed = pack_lxd(", "import_lxd(packed", "import_into_lxd = option(", `generate(root, "lxd-agent")`, "disk(built)"}, "incus"},
		{"Incus", "", lxd.Incus, []string{"packed = pack_incus(", "import_incus(packed", `import_into_incus = option("import_into_incus", "", help = "alias in Incus`, `generate(root, "incus-agent")`, "disk(built)"}, "_lxd"},
		{"each its own: LXD", "targets: {lxd: {vm: {size: 1GiB}}, incus: {vm: {size: 2GiB}}}", "", []string{`disk(built, size = "1GiB")`}, "2GiB"},
		{"each its own: Incus", "targets: {lxd: {vm: {size: 1GiB}}, incus: {vm: {size: 2GiB}}}", lxd.Incus, []string{`disk(built, size = "2GiB")`}, "1GiB"},
		{"that of the other: LXD", "targets: {incus: {vm: {size: 5368709120}}}", "", []string{`disk(built, size = "5368709120")`}, "incus"},
		{"that of the other: Incus", "targets: {lxd: {vm: {filesystem: btrfs}}}", lxd.Incus, []string{`disk(built, filesystem = "btrfs")`}, "_lxd"},
		{"of both", "targets: {lxd: {vm: {filesystem: btrfs}}, incus: {vm: {size: 2GiB}}}", lxd.Incus, []string{`disk(built, size = "2GiB", filesystem = "btrfs")`}, "_lxd"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			text := mustLoad(t, agents+test.targets).Convert(Mode{Server: test.server})
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("there is no %s in\n%s", want, text)
				}
			}
			if strings.Contains(text, test.never) {
				t.Errorf("there is %s in\n%s", test.never, text)
			}
		})
	}
}

// What -o sets for the one server serves the other, too.
func TestServersOverride(t *testing.T) {
	const text = minimal + "targets: {incus: {vm: {size: 2GiB}}}"
	doc := mustLoad(t, text, Override{"targets.incus.vm.size", "3GiB"})
	for _, server := range []lxd.Server{lxd.LXD, lxd.Incus} {
		if recipe := doc.Convert(Mode{Server: server}); !strings.Contains(recipe, "disk(built, size = targets_incus_vm_size)") {
			t.Errorf("%s: the size is not that of the option:\n%s", server, recipe)
		}
	}
}
