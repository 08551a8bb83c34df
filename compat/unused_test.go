package compat

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"imagebuilder/runtime"
)

// ready finds what is wrong with a definition for one kind of image, and what is said of
// it, as a build does before it starts.
func ready(doc *Document, target string) (notices string, err error) {
	var log strings.Builder
	config := runtime.Config{
		Options: runtime.Given{"target": {target}},
		Machine: "x86_64",
		Log:     slog.New(slog.NewTextHandler(&log, nil)),
	}
	recipe, err := doc.Recipe(context.Background(), Mode{}, config)
	if err == nil {
		_, err = recipe.Check()
	}
	return log.String(), err
}

// What a build does not use does not stop it: the older tools never looked at it.
func TestUnusedFaults(t *testing.T) {
	const usable = "image: {distribution: x, release: 1 REST}\nsource: {downloader: rootfs-http, url: 'https://x.org/x.tar'}\npackages: {manager: apt}\n"
	plain := strings.Replace(usable, " REST", "", 1)
	for _, test := range []struct {
		summary, yaml string
		used          string // the targets for which it is an error
		want          string
	}{
		{"a size that is none", plain + "targets: {lxd: {vm: {size: 5G}}}", "vm", "x.yaml:4: targets.lxd.vm.size: not a size"},
		{"that of the sister", plain + "targets: {incus: {vm: {size: 5G}}}", "vm", "x.yaml:4: targets.incus.vm.size: not a size"},
		{"a file system that disks cannot have", plain + "targets: {lxd: {vm: {filesystem: xfs}}}", "vm", "x.yaml:4: targets.lxd.vm.filesystem: must be one of ext4, btrfs"},
		{"a cloud-init document without a name", plain + "files: [{generator: cloud-init}]", "lxd vm", "there is no cloud-init document"},
		{"or with one that nobody knows", plain + "files: [{generator: cloud-init, name: user}]", "lxd vm", "there is no cloud-init document"},
		{"a template that cannot be rendered", plain + "files: [{generator: template, path: /a, name: a, content: '{% if %}', pongo: true}]", "lxd vm", "cannot render"},
		{"a path that cannot be", plain + "files: [{generator: hostname, path: '{% if %}', pongo: true}]", "lxc lxd vm", "cannot render"},
		{"or that of hosts", plain + "files: [{generator: hosts, path: '{% if %}', pongo: true}]", "lxc lxd vm", "cannot render"},
		{"or of a cloud-init document", plain + "files: [{generator: cloud-init, name: user-data, path: '{% if %}', pongo: true}]", "lxc lxd vm", "cannot render"},
		{"a name that is no template", strings.Replace(usable, "REST", ", name: '{% if %}'", 1), "lxd vm", "the name of the image"},
		{"a description that is none", strings.Replace(usable, "REST", ", description: '{{ x|nosuch }}'", 1), "lxd vm", "the description of the image"},
		{"an expiry that is no time", strings.Replace(usable, "REST", ", expiry: soon", 1), "lxc lxd vm", "x.yaml:1: image.expiry: "},
		{"LXC configuration of no type", plain + "targets: {lxc: {config: [{content: x}]}}", "lxc", "x.yaml:4: targets.lxc.config.0.type: must be one of all, system, user"},
		{"or of one that is for another release", plain + "targets: {lxc: {config: [{content: x, type: a, releases: [2]}]}}", "", "x.yaml:4: targets.lxc.config.0.type: must be one of all, system, user"},
		{"and of one that is for this release", plain + "targets: {lxc: {config: [{type: a, releases: [1]}]}}", "lxc", `the type of LXC configuration is "a"`},
	} {
		for _, target := range []string{"dir", "lxc", "lxd", "vm"} {
			notices, err := ready(mustLoad(t, test.yaml), target)
			switch used := strings.Contains(test.used, target); {
			case used && (err == nil || !strings.Contains(runtime.Explain(err), test.want)):
				t.Errorf("%s: %s: got error %v, want %s", test.summary, target, err, test.want)
			case !used && err != nil:
				t.Errorf("%s: %s: got error %v", test.summary, target, err)
			// What a recipe finds is said when it runs.
			case !used && strings.HasPrefix(test.want, "x.yaml") && !strings.Contains(notices, "not used here: "+test.want):
				t.Errorf("%s: %s: is not said in %q", test.summary, target, notices)
			}
		}
		// Whatever for, validate names it.
		if err := mustLoad(t, test.yaml).CheckAll(context.Background(), runtime.Config{Machine: "x86_64"}); err == nil {
			t.Errorf("%s: validate finds nothing wrong", test.summary)
		}
	}
}
