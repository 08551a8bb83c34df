package compat

import (
	"encoding/json"
	"strings"
	"testing"

	"imagebuilder/runtime"
)

// planned returns the JSON of the steps that a definition plans for a target.
func planned(t *testing.T, text, target string, overrides ...Override) string {
	t.Helper()
	planner, err := planRecipe(mustLoad(t, text, overrides...).translate(Mode{}).Text, nil, runtime.Given{"target": {target}})
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

// What the older tools took for modes, owners and content means what it meant there.
func TestFilesAsTheyWere(t *testing.T) {
	const text = minimal + `
files:
- {generator: dump, path: /a, mode: 0100644, uid: "+5", gid: "-1"}
- {generator: dump, path: /b, mode: 07774755, uid: 007}
- {generator: dump, path: /c, content: !!binary "/wo="}
- {generator: dump, path: /d, content: !!binary "/w=="}
- {generator: dump, path: /e, content: !!binary "aGk="}
- {generator: dump, path: /f, mode: 0600, uid: 1, gid: 2, content: x}
- {generator: fstab}
targets: {lxd: {vm: {filesystem: btrfs}}}
`
	overrides := []Override{{"image.release", "1"}, {"source.url", "https://x.org"}, // empty means: as if nothing were said
		{"files.5.mode", ""}, {"files.5.uid", ""}, {"files.5.gid", ""}, {"files.5.content", ""}, {"targets.lxd.vm.filesystem", ""},
		{"targets.lxd.vm.size", ""}, {"image.variant", ""}, {"image.architecture", ""}, {"image.expiry", ""}, {"image.name", ""},
		{"image.description", ""}, {"source.keyserver", ""}, {"source.suite", ""}}
	notices, err := ready(mustLoad(t, text, overrides...), "vm")
	if want := `x.yaml:7: files.1.mode: of 07774755 only the last twelve bits count`; err != nil || !strings.Contains(notices, want) {
		t.Errorf("got %v and %q, want %s", err, notices, want)
	}
	plan := planned(t, text, "vm", overrides...)
	for _, want := range []string{
		`{"path":"/a","content":"\n","mode":"0644","owner":"5"}`,
		`{"path":"/b","content":"\n","mode":"4755","owner":"007"}`,
		`{"path":"/c","content":"\ufffd\n"}`,
		`{"path":"/d","content":"\ufffd\n"}`,
		`{"path":"/e","content":"hi\n"}`,
		`{"path":"/f","content":"\n"}`,
		`LABEL=rootfs  /         ext4  defaults  0 0`,
		`"variant":"default","architecture":"x86_64"`, `"expiry":"30d"`,
	} {
		if !strings.Contains(plan, want) {
			t.Errorf("no %s in %s", want, plan)
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
