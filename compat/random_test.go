package compat

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"imagebuilder/runtime"
)

// A random makes definitions that are valid and odd.
type random struct{ *rand.Rand }

func (r random) one(list ...string) string { return list[r.IntN(len(list))] }

func (r random) some(list ...string) []string {
	var some []string
	for _, s := range list {
		if r.IntN(3) == 0 {
			some = append(some, s)
		}
	}
	return some
}

func (r random) text() string {
	return r.one("", "plain", "two\nlines", "ends\nwith a newline\n", `back\slash`, "a\\n\nb", `quo"te`, "x\n\"\"\"\ny\"", "tab\there\n\n",
		"{{ image.release }}", "{% if image.variant == \"cloud\" %}c\nd{% endif %}", "{{ source.url }} {{ targets.type }}", "é\u2028\n", "$(x) `y`\n# z", "%s\n%d")
}

func (r random) script() string { return "#!/bin/sh\n" + r.text() }

func (r random) filter() filter {
	return filter{r.some("1", "2", "3.0"), r.some("amd64", "arm64", "x86_64"), r.some("default", "cloud"), r.some("container", "vm")}
}

func (r random) file() fileEntry {
	f := fileEntry{filter: r.filter(), Generator: r.one(generators...), Pongo: r.IntN(2) == 0, Path: "/etc/" + r.one("a", "b c", "{{ image.name }}")}
	switch f.Generator {
	case "dump":
		f.Content, f.Mode, f.UID, f.Templated = r.text(), r.one("", "0600", "4755"), r.one("", "0", "1000"), r.IntN(2) == 0
	case "copy":
		f.Source = "/etc/hostname"
	case "template":
		f.Name, f.Content = r.one("a", "b"), r.text()
		f.Path += fmt.Sprint(r.IntN(1 << 30)) // two for one path would be an error
		f.Template = fileTemplate{Properties: map[string]string{"k": r.text()}, When: r.some("create", "copy", "start")}
	case "cloud-init":
		f.Name, f.Path = r.one("user-data", "vendor-data", "meta-data", "network-config"), ""
	}
	return f
}

func (r random) definition() *definition {
	d := &definition{
		Image:   imageSection{Distribution: r.one("debian", "Odd Name"), Release: r.one("", "1", "3.0"), Variant: r.one("", "cloud"), Description: r.one("", "{{ image.name }} x")},
		Source:  sourceSection{Downloader: r.one("debootstrap", "rootfs-http", "alpinelinux-http"), URL: "http://x.org/{{ image.release }}", Suite: r.one("a", "b"), SkipVerification: true},
		Targets: targetsSection{LXC: lxcTarget{CreateMessage: r.text()}, LXD: serverTarget{vmTarget{Size: r.one("", "5GiB"), Filesystem: r.one("", "btrfs")}}},
		Packages: packagesSection{
			Manager: r.one("apt", "apk", "dnf"), Update: r.IntN(2) == 0, Cleanup: r.IntN(2) == 0,
			Repositories: []repositoryEntry{{filter: r.filter(), Name: "x", URL: "deb " + r.text()}},
		},
		Mappings: mappingsSection{ArchitectureMap: r.one("", "debian"), Architectures: map[string]string{"x86_64": "amd64"}},
		Environment: environmentSection{ClearDefaults: r.IntN(2) == 0,
			Variables: []variableEntry{{filter: r.filter(), Key: "A", Value: r.text()}}},
	}
	if r.IntN(4) == 0 {
		d.Packages.Manager = ""
		c := managerCommand{Cmd: "pkg", Flags: r.some("x")}
		d.Packages.CustomManager = &customManager{Clean: c, Install: c, Remove: c, Refresh: c, Update: c, Flags: r.some("-q")}
	}
	for range r.IntN(5) {
		d.Packages.Sets = append(d.Packages.Sets, packageSet{filter: r.filter(), Packages: r.some("a", "b", "c"), Action: r.one("install", "remove"), Early: r.IntN(3) == 0, Flags: r.some("-f")})
		d.Actions = append(d.Actions, actionEntry{filter: r.filter(), Trigger: r.one(triggers...), Action: r.script(), Pongo: r.IntN(2) == 0})
		d.Files = append(d.Files, r.file())
		d.Targets.LXC.Config = append(d.Targets.LXC.Config, lxcConfig{filter: r.filter(), Type: r.one("all", "user"), After: uint(r.IntN(6)), Before: uint(r.IntN(6)), Content: r.text()})
	}
	return d
}

// Whatever a definition says, its recipe plans the same as it does, also with options
// that say otherwise.
func TestRandomDefinitions(t *testing.T) {
	rounds, planned := 300, 0
	if testing.Short() {
		rounds = 30
	}
	for seed := range uint64(rounds) {
		r := random{rand.New(rand.NewPCG(seed, 1))}
		text, err := yaml.Marshal(r.definition())
		if err != nil {
			t.Fatal(err)
		}
		file := t.TempDir() + "/random.yaml"
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		converted := loadFile(t, file).translate(Mode{}).Text
		if formatted := format(t, converted); formatted != converted {
			t.Fatalf("seed %d: not formatted:\n%s", seed, difference(converted, formatted))
		}
		c := choice{r.one("1", "2", "3.0"), r.one("default", "cloud"), r.one("x86_64", "aarch64"), r.one("dir", "lxc", "lxd", "vm")}
		direct, err := planRecipe(loadFile(t, file, c.overrides()...).translate(Mode{}).Text, nil, runtime.Given{"target": {c.target}})
		kept, err2 := planRecipe(converted, nil, c.options())
		switch {
		case (err == nil) != (err2 == nil):
			t.Fatalf("seed %d: %v\n%v\n%s", seed, err, err2, text)
		case err == nil:
			planned++
			if a, b := strings.Join(steps(t, direct), "\n"), strings.Join(steps(t, kept), "\n"); a != b {
				t.Fatalf("seed %d: %s\n%s", seed, difference(a, b), text)
			}
		}
	}
	if planned < rounds/2 {
		t.Errorf("only %d of %d definitions could be planned", planned, rounds)
	}
}

// No bytes make the parser panic, and what it accepts becomes a recipe that loads.
func FuzzLoad(f *testing.F) {
	for _, text := range []string{minimal, typed(), "a: &x [*x]", "<<: {image: {distribution: x}}", "image: !!binary aGk="} {
		f.Add(text, "image.release=1")
	}
	for _, name := range []string{"every", "debian"} {
		if data, err := os.ReadFile(ours + "/" + name + ".yaml"); err == nil {
			f.Add(string(data), "files.0.path=/x,source.url=y")
			f.Add(string(data), "packages.repositories.0.url=two\nlines of it")
		}
	}
	f.Fuzz(func(t *testing.T, text, flag string) {
		overrides, err := ParseOverrides([]string{flag})
		if err != nil {
			return
		}
		doc, err := load(text, overrides...)
		if err != nil {
			return
		}
		for _, mode := range []Mode{{}, {Pack: true}, {All: true}} {
			recipe := doc.translate(mode)
			if _, err := runtime.LoadText(context.Background(), "x.star", recipe.Text, runtime.Config{Machine: "x86_64"}); err != nil {
				t.Fatalf("the recipe does not load: %v\n%s", err, recipe.Text)
			}
		}
	})
}
