package compat

import (
	"slices"
	"strings"
	"testing"
)

func TestParseOverrides(t *testing.T) {
	for _, test := range []struct {
		flags string // separated by blanks
		want  []Override
	}{
		{"image.release=1", []Override{{"image.release", "1"}}},
		{"image.name=a=b", []Override{{"image.name", "a=b"}}},
		{"image.release=", []Override{{"image.release", ""}}},
		{"image.release=1,image.variant=x image.serial=2", []Override{{"image.release", "1"}, {"image.variant", "x"}, {"image.serial", "2"}}},
		{"image.description=a,_b=c", []Override{{"image.description", "a,_b=c"}}},
		{`"image.description=a,""b"""`, []Override{{"image.description", `a,"b"`}}},
		{`image.release=2,"image.description=a,b"`, []Override{{"image.release", "2"}, {"image.description", "a,b"}}},
		{`"image.description=a,b",image.release=2`, []Override{{"image.description", "a,b"}, {"image.release", "2"}}},
		{`image.description="a","b"`, []Override{{"image.description", `"a","b"`}}},
		{"", nil},
		{"source.url=http://x/?a=1,b=2", []Override{{"source.url", "http://x/?a=1,b=2"}}},
	} {
		got, err := ParseOverrides(append(strings.Fields(test.flags), ""))
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, %v, want %q", test.flags, got, err, test.want)
		}
	}
	for _, flag := range []string{"image.release", "=1", "image.release=\x99"} {
		if got, err := ParseOverrides([]string{flag}); err == nil {
			t.Errorf("%q: got %q, want an error", flag, got)
		}
	}
}

const overridden = minimal + `
files:
  - &file {generator: dump, path: /a, releases: ["1"]}
  - *file
  - <<: *file
    path: /b
mappings:
  architectures: {x86_64: a}
`

func TestOverrides(t *testing.T) {
	for _, test := range []struct {
		key, value string
		get        func(*Document) string
	}{
		{"image.release", "22.10", func(d *Document) string { return d.Image.Release }},
		{"image.release", "null", func(d *Document) string { return d.Image.Release }},
		{"packages.manager", "yum", func(d *Document) string { return d.Packages.Manager }},
		{"files.0.releases.0", "2", func(d *Document) string { return d.Files[0].Releases[0] }},
		{"files.1.path", "/c", func(d *Document) string { return d.Files[1].Path + strings.TrimPrefix(d.Files[0].Path, "/a") }},
		{"files.2.releases.0", "2", func(d *Document) string {
			return d.Files[2].Releases[0] + strings.TrimPrefix(d.Files[0].Releases[0], "1")
		}},
		{"mappings.architectures.x86_64", "b", func(d *Document) string { return d.Mappings.Architectures["x86_64"] }},
		{"mappings.architectures.i686", "b", func(d *Document) string { return d.Mappings.Architectures["i686"] }},
		{"simplestream.release_aliases.22.04", "lts", func(d *Document) string { return d.Simplestream.ReleaseAliases["22.04"] }},
		{"targets.lxd.vm.size", "5GiB", func(d *Document) string { return d.Targets.LXD.VM.Size }},
		{"targets.lxc.create_message", "a=b", func(d *Document) string { return d.Targets.LXC.CreateMessage }},
	} {
		doc, err := load(overridden, Override{test.key, test.value})
		if err != nil {
			t.Errorf("-o %s: %v", test.key, err)
		} else if got := test.get(doc); got != test.value {
			t.Errorf("-o %s=%s gives %q", test.key, test.value, got)
		}
	}
	// What an element is an alias of, or merges, is not what it is.
	doc := mustLoad(t, overridden, Override{"files.0.path", "/changed"}, Override{"files.0.mode", "0600"})
	if doc.Files[0].Path != "/changed" || doc.Files[1].Path != "/a" || doc.Files[1].Mode != "" || doc.Files[2].Mode != "" {
		t.Errorf("-o files.0… changes others: %+v", doc.Files)
	}
	for value, want := range map[string]bool{"yes": true, "1": true, "t": true, "True": true, "0": false, "F": false} {
		doc := mustLoad(t, minimal, Override{"environment.clear_defaults", value})
		if doc.Environment.ClearDefaults != want {
			t.Errorf("-o environment.clear_defaults=%s gives %v", value, !want)
		}
	}
}

func TestOverrideErrors(t *testing.T) {
	for key, want := range map[string]string{
		"image.relase":           "x.yaml: -o image.relase: there is no key relase; did you mean release?",
		"image":                  "x.yaml: -o image: it is a mapping: name a key of it",
		"files":                  "x.yaml: -o files: it is a list: name an element, such as .0",
		"files.0":                "x.yaml: -o files.0: it is a mapping: name a key of it",
		"files.7.path":           "x.yaml: -o files.7.path: there is no element 7: the list has 3, numbered from 0",
		"files.-1.path":          "x.yaml: -o files.-1.path: there is no element -1: the list has 3, numbered from 0",
		"files.x.path":           `x.yaml: -o files.x.path: "x" is not the number of an element`,
		"source.keys.0":          "x.yaml: -o source.keys.0: there is no element 0: the list has 0, numbered from 0",
		"image.release.x":        "x.yaml: -o image.release.x: there is nothing below a scalar: x",
		"environment.variables":  "x.yaml: -o environment.variables: it is a list: name an element, such as .0",
		"mappings.architectures": "x.yaml: -o mappings.architectures: it is a mapping: name a key of it",
	} {
		_, err := load(overridden, Override{key, "x"})
		if err == nil || err.Error() != want {
			t.Errorf("-o %s: got\n%v\nwant\n%s", key, err, want)
		}
	}
	for _, o := range []Override{{"packages.update", "maybe"}, {"packages.update", ""}, {"targets.lxc.config.0.after", "-1"},
		{"targets.lxc.config.0.after", "0x5"}, {"mappings.architectures.", "x"}} {
		if _, err := load(overridden, o); err == nil {
			t.Errorf("-o %s=%s: no error", o.Key, o.Value)
		}
	}
}
