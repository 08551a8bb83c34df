package compat

import (
	"encoding/json"
	"strings"
	"testing"
)

// planned returns the JSON of the steps that a definition plans for a target.
func planned(t *testing.T, text, target string, overrides ...Override) string {
	t.Helper()
	planner, err := planRecipe(mustLoad(t, text, overrides...).translate(Mode{}).Text, nil, map[string]string{"target": target})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(planner.Steps)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Templates see the whole definition, also through templates that they name.
func TestTemplatesSeeEverything(t *testing.T) {
	const text = `
image: {distribution: x, release: "1", description: "of {{ image.release }}"}
source: {downloader: rootfs-http, suite: "{{ packages.manager }}", url: "https://x.org/{{ targets.type }}/{{ source.suite }}.tar"}
packages:
  manager: apt
  repositories: [{name: r, url: "deb {{ source.suite }} {{ targets.type }}"}]
files:
- {generator: template, name: t, path: /t, pongo: true, content: "{{ image.description }} {{ lxd.VM.Filesystem }} {% verbatim %}{{ container.name }}{% endverbatim %}"}
- {generator: dump, path: /d, pongo: true, content: "a{# note #}b"}
targets: {incus: {vm: {filesystem: btrfs}}, lxd: {vm: {size: 5GiB}}}
`
	for target, kind := range map[string]string{"lxd": "container", "vm": "vm"} {
		plan := planned(t, text, target)
		for _, want := range []string{
			// Nothing is a virtual machine before it is on a disk.
			`"url":"https://x.org/container/apt.tar"`,
			`deb apt ` + kind,
			`"content":"of 1 btrfs {{ container.name }}\n"`,
			`"content":"ab\n"`,
		} {
			if !strings.Contains(plan, want) {
				t.Errorf("%s: no %s in %s", target, want, plan)
			}
		}
	}
}

// What -o sets counts wherever the value is used.
func TestOverridesReachTheRecipe(t *testing.T) {
	const text = minimal + `
files:
- {generator: template, name: t, path: /t, content: x, template: {properties: {a: b}}}
`
	release, url := Override{"image.release", "1"}, Override{"source.url", "http://x.org"}
	plan := planned(t, text, "lxd", release, url, Override{"mappings.architectures.x86_64", "mine"},
		Override{"files.0.template.properties.a-b", "1"}, Override{"files.0.template.properties.a_b", "2"})
	for _, want := range []string{`"architecture_mapped":"mine"`, `"a-b":"1"`, `"a_b":"2"`} {
		if !strings.Contains(plan, want) {
			t.Errorf("no %s in %s", want, plan)
		}
	}
	if plan := planned(t, minimal, "lxd", release, url, Override{"mappings.architecture_map", "debian"}); !strings.Contains(plan, `"architecture_mapped":"amd64"`) {
		t.Errorf("the map does not count: %s", plan)
	}
}

// A little text can say a lot by aliases, up to a limit.
func TestAliasesAreLimited(t *testing.T) {
	text := "a: &p [" + strings.Repeat("x, ", 1000) + "]\n" + minimal + "files:\n" + strings.Repeat("- {generator: remove, path: /x, releases: *p}\n", 1000)
	if _, err := load(text); err == nil || !strings.Contains(err.Error(), "do aliases repeat too much?") {
		t.Errorf("got %v", err)
	}
}
