package compat

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// minimal is what every definition needs.
const minimal = "image: {distribution: x}\nsource: {downloader: debootstrap}\npackages: {manager: apt}\n"

func load(text string, overrides ...Override) (*Document, error) {
	return readDefinition(context.Background(), strings.NewReader(text), "x.yaml", "x86_64", overrides)
}

func mustLoad(t *testing.T, text string, overrides ...Override) *Document {
	t.Helper()
	doc, err := load(text, overrides...)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return doc
}

func TestScalarsKeepTheirText(t *testing.T) {
	release := func(d *Document) string { return d.Image.Release }
	update := func(d *Document) string { return map[bool]string{true: "true", false: "false"}[d.Packages.Update] }
	for _, test := range []struct {
		yaml string
		get  func(*Document) string
		want string
	}{
		{"release: 22.10", release, "22.10"},
		{"release: 0644", release, "0644"},
		{"release: 0x10", release, "0x10"},
		{"release: true", release, "true"},
		{"release: 1e3", release, "1e3"},
		{"release: 2001-01-01", release, "2001-01-01"},
		{"release: ~", release, ""},
		{"release: null", release, ""},
		{"release:", release, ""},
		{"release: 'null'", release, "null"},
		{"release: yes", release, "yes"},
		{"release: !!binary dHJpeGll", release, "trixie"},
		{"release: !!binary 'dHJp eGll'", release, "trixie"},
		{"release: !!str 5", release, "5"},
		{"release: !mine 5", release, "5"},
		{"update: yes", update, "true"},
		{"update: Y", update, "true"},
		{"update: On", update, "true"},
		{"update: TRUE", update, "true"},
		{"update: off", update, "false"},
		{"update: n", update, "false"},
		{"update:", update, "false"},
	} {
		text := "image: {distribution: x, REST }\nsource: {downloader: debootstrap}\npackages: {manager: apt}\n"
		if strings.HasPrefix(test.yaml, "update") {
			text = "image: {distribution: x}\nsource: {downloader: debootstrap}\npackages: {manager: apt, REST }\n"
		}
		doc, err := load(strings.ReplaceAll(text, "REST", test.yaml))
		if err != nil {
			t.Errorf("%s: %v", test.yaml, err)
		} else if got := test.get(doc); got != test.want {
			t.Errorf("%s is %q, want %q", test.yaml, got, test.want)
		}
	}
}

func TestAccepted(t *testing.T) {
	for name, text := range map[string]string{
		"null list":           minimal + "files:\n",
		"null in a list":      minimal + "environment: {variables: [{key: a, releases: [~]}]}\n",
		"only one document":   minimal + "---\nnonsense: true\n",
		"whole numbers":       minimal + "targets: {lxc: {config: [{type: all, before: 5.0, after: 0x1}]}}\n",
		"blanks around names": strings.Replace(minimal, "debootstrap", "' debootstrap '", 1),
		"incus":               minimal + "targets: {incus: {vm: {size: 5368709120}}}\nfiles: [{generator: incus-agent}]\n",
		"target type":         minimal + "targets: {type: vm}\n",
		"derived values":      strings.Replace(minimal, "distribution: x", "distribution: x, architecture_mapped: y", 1),
		"mapped map":          minimal + "mappings: {architecture_map: openwrt}\n",
		"flow on one line":    "{image: {distribution: x}, source: {downloader: busybox}, packages: {manager: apk}}",
	} {
		if _, err := load(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMerge(t *testing.T) {
	doc := mustLoad(t, minimal+`files:
  - &first
    generator: dump
    path: /a
    content: one
  - path: /b
    <<: *first
  - <<: [*first, {content: two, mode: 0600}]
    path: /c
  - *first
`)
	want := []fileEntry{
		{Generator: "dump", Path: "/a", Content: "one"},
		{Generator: "dump", Path: "/b", Content: "one"},
		{Generator: "dump", Path: "/c", Content: "one", Mode: "0600"},
		{Generator: "dump", Path: "/a", Content: "one"},
	}
	for i, f := range doc.Files {
		if f.Path != want[i].Path || f.Content != want[i].Content || f.Mode != want[i].Mode {
			t.Errorf("files.%d: got %+v, want %+v", i, f, want[i])
		}
	}
}

func TestErrors(t *testing.T) {
	for name, test := range map[string]struct{ yaml, want string }{
		"empty":            {"", "x.yaml: image.distribution: may not be empty\n*\nx.yaml: packages: packages.manager or packages.custom_manager needs to be set"},
		"syntax":           {"image: [", "x.yaml:1: did not find expected node content"},
		"unknown keys":     {minimal + "imaeg: 1\nfiles:\n- generator: dump\n  paht: /x\n", "x.yaml:4: imaeg: there is no such key; did you mean image?\nx.yaml:7: files.0.paht: there is no such key; did you mean path?"},
		"duplicate":        {"image:\n  release: 1\n  release: 2\n" + strings.ReplaceAll(minimal, "image", "mappings"), "x.yaml:3: image.release: it was given already, in line 2\n*"},
		"scalar for list":  {minimal + "files: [{generator: dump, path: /a, types: container}]\n", "x.yaml:4: files.0.types: got a scalar, want a list"},
		"list for text":    {minimal + "simplestream: {distro_name: [x]}\n", "x.yaml:4: simplestream.distro_name: got a list, want a scalar"},
		"map for list":     {minimal + "actions: {trigger: x}\n", "x.yaml:4: actions: got a mapping, want a list"},
		"not a boolean":    {minimal + "environment: {clear_defaults: maybe}\n", `x.yaml:4: environment.clear_defaults: "maybe" is not a boolean such as true or false`},
		"quoted boolean":   {minimal + "environment: {clear_defaults: 'yes'}\n", `x.yaml:4: environment.clear_defaults: "yes" is not a boolean such as true or false`},
		"quoted number":    {minimal + "targets: {lxc: {config: [{type: all, after: '1'}]}}\n", `x.yaml:4: targets.lxc.config.0.after: "1" is not a whole number from 0 on`},
		"negative number":  {minimal + "targets: {lxc: {config: [{type: all, after: -1}]}}\n", `x.yaml:4: targets.lxc.config.0.after: "-1" is not a whole number from 0 on`},
		"filter type":      {minimal + "actions: [{trigger: post-files, types: [contaner]}]\n", `x.yaml:4: actions.0.types.0: must be one of container, vm, not "contaner"; did you mean container?`},
		"downloader":       {strings.Replace(minimal, "debootstrap", "debotstrap", 1), "x.yaml:2: source.downloader: must be one of *"},
		"gone downloader":  {strings.Replace(minimal, "debootstrap", "sabayon-http", 1), "x.yaml:2: source.downloader: sabayon-http has ended with its project; *"},
		"manager":          {strings.Replace(minimal, "apt", "pip", 1), "x.yaml:3: packages.manager: must be one of *"},
		"two managers":     {strings.Replace(minimal, "apt", "apt, custom_manager: {}", 1), "x.yaml:3: packages: cannot have both packages.manager and packages.custom_manager set"},
		"no commands":      {strings.Replace(minimal, "manager: apt", "custom_manager: {clean: {cmd: x}}", 1), "x.yaml:3: packages.custom_manager: requires a command for install\n*"},
		"generator":        {minimal + "files: [{generator: dmup}]\n", `x.yaml:4: files.0.generator: must be one of *; did you mean dump?`},
		"map":              {minimal + "mappings: {architecture_map: almalinux}\n", "x.yaml:4: mappings.architecture_map: must be one of alpinelinux, *"},
		"trigger":          {minimal + "actions: [{trigger: post-file}]\n", "x.yaml:4: actions.0.trigger: must be one of post-files, *"},
		"action":           {strings.Replace(minimal, "manager: apt", "manager: apt, sets: [{action: Install}]", 1), "x.yaml:3: packages.sets.0.action: must be one of install, remove, *"},
		"architecture":     {strings.Replace(minimal, "distribution: x", "distribution: x, architecture: bogus", 1), `x.yaml:1: image.architecture: the architecture "bogus" is not supported`},
		"not in base64":    {strings.Replace(minimal, "distribution: x", "distribution: x, release: !!binary x", 1), "x.yaml:1: image.release: it is tagged as binary and not in base64"},
		"bytes for text":   {strings.Replace(minimal, "distribution: x", "distribution: x, release: !!binary /w==", 1), "x.yaml:1: image.release: it is not text: *"},
		"bytes to render":  {minimal + "files: [{generator: dump, path: /a, pongo: true, content: !!binary /w==}]\n", "x.yaml:4: files.0.content: it is not text: *"},
		"merges itself":    {"image: &x\n  distribution: x\n  <<: *x\n" + strings.SplitN(minimal, "\n", 2)[1], "x.yaml:1: image: it merges itself"},
		"not in a mapping": {"- a\n", "x.yaml:1: got a list, want a mapping"},
	} {
		_, err := load(test.yaml)
		if err == nil || !matches(err.Error(), test.want) {
			t.Errorf("%s: got\n%v\nwant\n%s", name, err, test.want)
		}
	}
}

// matches compares a text with one in which * stands for anything.
func matches(text, pattern string) bool {
	parts := strings.Split(pattern, "*")
	for i, part := range parts {
		at := strings.Index(text, part)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return text == "" || strings.HasSuffix(pattern, "*")
}

// Errors know where they are, for those who show them otherwise.
func TestErrorPlace(t *testing.T) {
	_, err := load(minimal + "files: [{generator: x}]")
	var e *definitionError
	if !errors.As(err, &e) || e.File != "x.yaml" || e.Line != 4 || e.Key != "files.0.generator" {
		t.Errorf("got %+v", e)
	}
}
