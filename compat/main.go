package compat

import (
	"slices"
	"strconv"
	"strings"

	"imagebuilder/builtins/lxd"
	"imagebuilder/builtins/template"
)

// The function main of a translated recipe: the phases of the older tools, in their order.

// mainFunction prints main: the phases, in their order.
func (t *translator) mainFunction(calls phaseCalls) *code {
	c := new(code)
	c.add("", 0, "def main():")
	c.add("image", 1, "img = "+t.image())
	t.begin(c)
	if calls.environment != "" {
		c.add("", 1, calls.environment+"(root)")
	}
	t.packagePhase(c, calls)
	c.blank()
	if !t.Pack {
		t.endDir(c, calls)
	}
	c.add("", 1, "built = fork(root, target)")
	if calls.files != "" && t.All { // some generators refuse LXC, which filters may see to
		c.add("", 1, `if target != "lxc":`)
		c.add("", 2, "files(built)")
	} else if calls.files != "" {
		c.add("", 1, "files(built)")
	}
	key, _, _ := t.diskSetting("size")
	key = strings.TrimSuffix(key, ".size")
	c.add(key, 1, `if target == "vm":`)
	c.add(key, 2, "built = "+t.disk())
	c.add("", 1, `generate(built, "system-generator")`)
	if calls.postFiles != "" {
		c.add("", 1, "session(built, post_files)")
	}
	t.packing(c, calls)
	return c
}

func (t *translator) image() string {
	release, _ := t.option("image.release")
	variant, _ := t.option("image.variant")
	architecture, _ := t.option("image.architecture")
	serial, _ := t.option("image.serial")
	args := []string{
		t.str("image.distribution", t.Image.Distribution, ""), release, variant, architecture,
		named("mapped_to", "arch"), named("serial", serial),
	}
	for _, text := range []struct{ name, value string }{{"name", t.Image.Name}, {"description", t.Image.Description}} {
		if text.value != "" || t.find("image."+text.name) != nil {
			args = append(args, named(text.name, t.str("image."+text.name, text.value, "image "+text.name)))
		}
	}
	if t.Image.Expiry != defaultExpiry || t.find("image.expiry") != nil {
		args = append(args, named("expiry", t.str("image.expiry", t.Image.Expiry, "")))
	}
	var sections []string
	for _, root := range t.imageRoots() {
		t.dicts[root] = true
		sections = append(sections, literal(root)+": "+strings.ToUpper(root))
	}
	if len(sections) > 0 {
		args = append(args, named("context", bracketed("{", sections, "}")))
	}
	return call("image", args...)
}

// begin prints where the root file system comes from.
func (t *translator) begin(c *code) {
	if t.Pack {
		c.add("source", 1, "root = "+call("rootfs", "img", t.manager(), named("source", "source")))
		c.add("", 1, "root.mountpoints()")
		return
	}
	for _, list := range earlyLists {
		if early := t.early(list.action, list.name); len(early) > 0 {
			for _, s := range early {
				indent := 1
				if s.condition != "" {
					c.add(s.key, 1, "if "+s.condition+":")
					indent = 2
				}
				c.add(s.key, indent, s.text)
			}
		}
	}
	c.add("source", 1, "root = "+t.download())
	if t.Source.Downloader != "debootstrap" || t.Packages.Manager != "apt" {
		c.add("packages.manager", 1, "root.manager = "+t.manager())
	}
}

// download prints the call of the source.
func (t *translator) download() string {
	s := &t.Source
	function := t.load("sources/index.star", "SOURCES") + "[" + literal(s.Downloader) + "]"
	switch s.Downloader {
	case "debootstrap":
		delete(t.loads, "@stdlib//sources/index.star SOURCES")
		function = t.load("sources/debian.star", "debootstrap")
	case "rootfs-http":
		delete(t.loads, "@stdlib//sources/index.star SOURCES")
		function = t.load("sources/rootfs_http.star", "rootfs_http")
	}
	args := []string{"img", t.render("source.url", s.URL, "", "img")}
	if t.takesArgument("onto") {
		args = append(args, named("onto", `exported(img) if target == "dir" else None`))
	}
	for _, o := range []struct{ key, name string }{
		{"source.suite", "suite"}, {"source.variant", "variant"}, {"source.same_as", "same_as"},
	} {
		if !t.takesArgument(o.name) {
			continue
		}
		if name, ok := t.option(o.key); ok {
			args = append(args, named(o.name, name))
		}
	}
	args = append(args, t.sourceLists()...)
	if t.takesArgument("skip_verification") {
		if skip, ok := t.option("source.skip_verification"); ok {
			args = append(args, named("skip_verification", skip))
		}
	}
	if s.Downloader == "debootstrap" { // scripts rely on what it leaves there
		args = append(args, named("tidy", "False"))
	}
	return call(function, args...)
}

// takesArgument tells whether the source can be given an argument of the name.
func (t *translator) takesArgument(name string) bool {
	return slices.ContainsFunc(t.takes, func(known string) bool { return known == name || strings.HasPrefix(known, "**") && name != "onto" })
}

func (t *translator) sourceLists() []string {
	s := &t.Source
	var args []string
	if len(s.Components) > 0 && t.takesArgument("components") {
		args = append(args, t.components())
	}
	if len(s.Keys) > 0 && t.takesArgument("keys") {
		args = append(args, t.sourceKeys())
	}
	if (s.Keyserver != "" || t.find("source.keyserver") != nil) && t.takesArgument("keyserver") {
		args = append(args, named("keyserver", t.str("source.keyserver", s.Keyserver, "")))
	}
	for _, list := range earlyLists {
		if len(t.early(list.action, list.name)) > 0 {
			args = append(args, named(list.name, list.name))
		}
	}
	return args
}

// components prints a list whose entries are templates, but for debootstrap.
func (t *translator) components() string {
	texts := t.strs("source.components", t.Source.Components, "")
	if t.Source.Downloader != "debootstrap" {
		for i, text := range t.Source.Components {
			texts[i] = t.render(join("source.components", strconv.Itoa(i)), text, "", "img")
		}
	}
	return named("components", list(texts))
}

func (t *translator) sourceKeys() string {
	var keys []string
	for i, key := range t.Source.Keys {
		keys = append(keys, t.key(join("source.keys", strconv.Itoa(i)), key, "img"))
	}
	return named("keys", list(keys))
}

// key prints an OpenPGP key.
func (t *translator) key(at, key, image string) string {
	if t.find(at) == nil && !template.IsTemplate(key) && isLong(key) {
		return t.keys.name(key, "key", at)
	}
	return t.render(at, key, "key", image)
}

// manager prints the package manager.
func (t *translator) manager() string {
	m := t.Packages.CustomManager
	switch {
	case m == nil && t.Packages.Manager == "apt":
		return t.load("managers/apt.star", "apt")
	case m == nil:
		return t.load("managers/index.star", "MANAGERS") + "[" + t.str("packages.manager", t.Packages.Manager, "") + "]"
	}
	var args []string
	if len(m.Flags) > 0 {
		args = append(args, list(t.strs("packages.custom_manager.flags", m.Flags, "")))
	}
	for _, o := range m.operations() {
		key := "packages.custom_manager." + o.name
		args = append(args, named(o.name, bracketed("(", []string{t.str(key+".cmd", o.Cmd, ""), list(t.strs(key+".flags", o.Flags, ""))}, ")")))
	}
	return call(t.load("managers/custom.star", "custom"), args...)
}

// packagePhase prints what is done in one stay in the root file system, whose programs
// find what those before have left.
func (t *translator) packagePhase(c *code, calls phaseCalls) {
	steps := []string{calls.repositories, calls.postUnpack}
	if t.prepares {
		steps = append([]string{t.load("definition.star", "prepare")}, steps...)
	}
	if t.All { // also where packages are not updated now
		steps = append(steps, calls.postUpdate)
	}
	steps = append(steps, t.packages(calls), calls.postPackages)
	steps = slices.DeleteFunc(steps, func(step string) bool { return step == "" })
	switch {
	case len(steps) == 1 && steps[0] == calls.repositories: // it runs nothing
		c.add("", 1, calls.repositories+"(root)")
	case len(steps) > 0:
		c.add("", 1, call("session", append([]string{"root"}, steps...)...))
	}
}

// packages prints the function that does what the packages section says.
func (t *translator) packages(calls phaseCalls) string {
	p := &t.Packages
	args := []string{"root", "[]"}
	if calls.sets != "" {
		args[1] = "package_sets()"
	}
	update := p.Update || t.find("packages.update") != nil
	if update {
		args = append(args, named("update", t.boolean("packages.update", p.Update)))
	}
	// What is packed has been cleaned where it was built.
	idle := t.Pack && calls.sets == "" && !update
	if !idle && (p.Cleanup || t.find("packages.cleanup") != nil) {
		args = append(args, named("cleanup", t.boolean("packages.cleanup", p.Cleanup)))
	}
	if calls.postUpdate != "" && !t.All {
		args = append(args, named("post_update", calls.postUpdate))
	}
	if len(args) == 2 && calls.sets == "" {
		return ""
	}
	return "lambda root: " + call(t.load("definition.star", "manage_packages"), args...)
}

// earlyLists are the lists in which sets are collected for the source, by their action.
var earlyLists = []struct{ action, name string }{{"install", "include"}, {"remove", "exclude"}}

// endDir prints the end of build-dir.
func (t *translator) endDir(c *code, calls phaseCalls) {
	c.add("", 1, `if target == "dir":`)
	if calls.files != "" {
		c.add("", 2, "files(root)")
	}
	if calls.postFiles != "" {
		c.add("", 2, "if with_post_files:")
		c.add("", 3, "session(root, post_files)")
	}
	if t.replaces {
		c.add("", 2, "export(root, replace = True)")
	} else {
		c.add("", 2, "export(root)")
	}
	c.add("", 2, "return")
	c.blank()
}

func (t *translator) disk() string {
	args := []string{"built"}
	for _, name := range []string{"size", "filesystem"} {
		if key, value, ok := t.diskSetting(name); ok {
			args = append(args, named(name, t.str(key, value, "")))
		}
	}
	return call("disk", args...)
}

// diskSetting returns the size or the filesystem of disks and the key that says it: that of
// the server which the image is for, else that of the other.
func (t *translator) diskSetting(name string) (key, value string, said bool) {
	sections := []struct {
		key string
		vm  vmTarget
	}{{"targets.lxd.vm.", t.Targets.LXD.VM}, {"targets.incus.vm.", t.Targets.Incus.VM}}
	if t.Server == lxd.Incus {
		slices.Reverse(sections)
	}
	for _, s := range sections {
		value := map[string]string{"size": s.vm.Size, "filesystem": s.vm.Filesystem}[name]
		if value != "" || t.find(s.key+name) != nil {
			return s.key + name, value, true
		}
	}
	return sections[0].key + name, "", false
}

// packing prints the packing of the image.
func (t *translator) packing(c *code, calls phaseCalls) {
	c.add("", 1, `if target == "lxc":`)
	args := []string{"built", "img", named("compression", "compression")}
	if t.Targets.LXC.CreateMessage != "" || t.find("targets.lxc.create_message") != nil {
		message := t.render("targets.lxc.create_message", t.Targets.LXC.CreateMessage, "create message", "img")
		args = append(args, named("create_message", message))
	}
	if calls.config != "" {
		args = append(args, named("config", "lxc_config(img)"))
	}
	c.add("targets.lxc", 2, call("pack_lxc", args...))
	c.add("", 2, "return")
	server := t.server()
	c.add("", 1, "packed = pack_"+server+"(built, img, type = form, compression = compression)")
	c.add("", 1, "if import_into_"+server+":")
	c.add("", 2, `alias = "" if import_into_`+server+` == "-" else render(import_into_`+server+`, img)`)
	c.add("", 2, "import_"+server+"(packed, alias = alias, description = img.description)")
}
