package compat

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"imagebuilder/builtins/template"
)

// The other functions of a translated recipe, one a phase, with the filters of entries as
// conditions.

// functions prints the functions of the recipe, main last.
func (t *translator) functions() *code {
	all := new(code)
	add := func(name, parameters, doc string, statements []statement, ending ...string) string {
		if len(statements) == 0 {
			return ""
		}
		c := function("def "+name+"("+parameters+"):", doc, statements)
		for _, line := range ending {
			c.add("", 1, line)
		}
		all.blank()
		all.append(c)
		return name
	}
	calls := phaseCalls{
		environment:  add("environment", "root", "Sets the environment of programs inside.", t.environment()),
		repositories: add("repositories", "root", "Adds repositories of packages.", t.repositories()),
		postUnpack:   add("post_unpack", "root", "Runs when the root file system is there.", t.actions("post-unpack")),
		postUpdate:   add("post_update", "root", "Runs when packages are up to date.", t.actions("post-update")),
		postPackages: add("post_packages", "root", "Runs when packages are installed.", t.actions("post-packages")),
		files:        add("files", "root", "Makes files for the kind of image.", t.files()),
		postFiles:    add("post_files", "root", "Runs when files are made.", t.actions("post-files")),
	}
	if sets := t.packageSets(); len(sets) > 0 {
		calls.sets = add("package_sets", "", "Returns what to install and to remove, in order.",
			append([]statement{{text: "sets = []"}}, sets...), "return sets")
	}
	if config := t.lxcConfig(); len(config) > 0 {
		calls.config = add("lxc_config", "img", "Returns the configuration of LXC containers.",
			append([]statement{{text: "config = []"}}, config...), "return config")
	}
	all.blank()
	all.append(t.mainFunction(calls))
	return all
}

// phaseCalls are the names of the functions that there are.
type phaseCalls struct {
	environment, repositories, postUnpack, postUpdate, postPackages, files, postFiles, sets, config string
}

// condition prints when an entry counts. Before the files, pack commands do only what
// is typed for their kind of image.
func (t *translator) condition(key string, f filter, typedOnly bool) (string, bool) {
	var parts []string
	if t.All {
		f.Releases, f.Architectures, f.Variants = nil, nil, nil
	}
	if len(f.Releases) > 0 {
		release, _ := t.option("image.release")
		parts = append(parts, t.among(release, key+".releases", f.Releases))
	}
	if len(f.Architectures) > 0 {
		parts = append(parts, t.among("arch", key+".architectures", f.Architectures))
	}
	if len(f.Variants) > 0 {
		variant, _ := t.option("image.variant")
		parts = append(parts, t.among(variant, key+".variants", f.Variants))
	}
	container, vm := slices.Contains(f.Types, "container"), slices.Contains(f.Types, "vm")
	switch {
	case !container && !vm:
		if t.Pack && typedOnly {
			return "", false
		}
	case container && vm:
		if !t.Pack {
			parts = append(parts, `target != "dir"`)
		}
	case vm:
		parts = append(parts, `target == "vm"`)
	case t.Pack:
		parts = append(parts, `target != "vm"`)
	default:
		parts = append(parts, `target in ["lxc", "lxd"]`)
	}
	return strings.Join(parts, " and "), true
}

// entry makes the statement of one entry, or none.
func (t *translator) entry(key string, f filter, typedOnly bool, text func() string) []statement {
	condition, ok := t.condition(key, f, typedOnly)
	if !ok {
		return nil
	}
	return []statement{{key: key, condition: condition, comment: t.source.notes[key], text: text()}}
}

// render prints a text that is rendered if it is a template, or may become one.
func (t *translator) render(key, text, words, image string, extra ...string) string {
	printed := t.str(key, text, words)
	if !template.IsTemplate(text) && t.find(key) == nil {
		return printed
	}
	args := append([]string{printed, image}, t.contexts(key, text)...)
	return call("render", append(args, extra...)...)
}

// contexts print the sections that a template names, besides those that the texts of
// the image name, which all templates see.
func (t *translator) contexts(key, text string) []string {
	var args []string
	known := t.imageRoots()
	for _, root := range t.closure(text) {
		printed := strings.ToUpper(root)
		early := root == "targets" && strings.HasPrefix(key, "source.") // before it is a disk
		if early {
			printed = `dict(TARGETS, type = "container")`
		}
		if early || !slices.Contains(known, root) {
			t.dicts[root] = true
			args = append(args, named(root, printed))
		}
	}
	return args
}

// closure returns the sections that a text names, and those that their texts name.
func (t *translator) closure(text string) []string {
	texts := []string{text}
	sections := fieldsOf(reflect.ValueOf(&t.definition).Elem())
	for found := []string(nil); ; {
		now := rootsIn(texts...)
		if len(now) == len(found) {
			return found
		}
		found = now
		for _, root := range found {
			texts = append(texts, textsIn(sections[root])...)
		}
	}
}

func (t *translator) imageRoots() []string { return t.closure(t.Image.Name + t.Image.Description) }

func (t *translator) environment() []statement {
	var all []statement
	if t.Environment.ClearDefaults || t.find("environment.clear_defaults") != nil {
		s := statement{key: "environment.clear_defaults", text: t.load("definition.star", "clear_environment") + "(root)"}
		if name, ok := t.option("environment.clear_defaults"); ok {
			s.condition = name
		}
		all = append(all, s)
	}
	for i, v := range t.Environment.Variables {
		key := fmt.Sprintf("environment.variables.%d", i)
		// The kind of image counts here for build-dir, too, which makes containers.
		condition, _ := t.condition(key, filter{v.Releases, v.Architectures, v.Variants, nil}, false)
		all = append(all, statement{key: key, comment: t.source.notes[key], condition: and(condition, t.environmentKind(v.Types)),
			text: fmt.Sprintf("root.env[%s] = %s", t.str(key+".key", v.Key, ""), t.str(key+".value", v.Value, v.Key))})
	}
	return all
}

func (t *translator) environmentKind(types []string) string {
	container, vm := slices.Contains(types, "container"), slices.Contains(types, "vm")
	switch {
	case container == vm:
		return ""
	case vm:
		return `target == "vm"`
	}
	return `target != "vm"`
}

func and(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " and " + b
}

func (t *translator) repositories() []statement {
	var all []statement
	for i, r := range t.Packages.Repositories {
		key := fmt.Sprintf("packages.repositories.%d", i)
		all = append(all, t.entry(key, r.filter, true, func() string {
			args := []string{"root", t.str(key+".name", r.Name, ""), t.render(key+".url", r.URL, "repository "+r.Name, "root.image")}
			if r.Key != "" || t.find(key+".key") != nil {
				args = append(args, named("key", t.key(key+".key", r.Key, "root.image")))
			}
			if r.Type != "" || t.find(key+".type") != nil {
				args = append(args, named("type", t.str(key+".type", r.Type, "")))
			}
			return call("repository", args...)
		})...)
	}
	return all
}

func (t *translator) actions(trigger string) []statement {
	var all []statement
	for i, a := range t.Actions {
		if a.Trigger != trigger {
			continue
		}
		key := fmt.Sprintf("actions.%d", i)
		all = append(all, t.entry(key, a.filter, trigger != "post-files", func() string {
			words := scriptWords(a.Action, trigger)
			script := t.str(key+".action", a.Action, words)
			if a.Pongo {
				script = t.render(key+".action", a.Action, words, "root.image")
			}
			return call("chroot_run", "root", script)
		})...)
	}
	return all
}

// packageSets print the sets, but not those that the source installs.
func (t *translator) packageSets() []statement {
	var all []statement
	for i, s := range t.Packages.Sets {
		key := fmt.Sprintf("packages.sets.%d", i)
		if t.isEarly(s) {
			continue
		}
		all = append(all, t.entry(key, s.filter, true, func() string {
			args := []string{literal(s.Action), list(t.strs(key+".packages", s.Packages, ""))}
			if len(s.Flags) > 0 {
				args = append(args, list(t.strs(key+".flags", s.Flags, "")))
			}
			return "sets.append(" + bracketed("(", args, ")") + ")"
		})...)
	}
	return all
}

// isEarly tells a set that the source installs with the base system. One with types
// never is; with other sources the key means nothing.
func (t *translator) isEarly(s packageSet) bool {
	return s.Early && t.takesEarly && len(s.Types) == 0 && !t.Pack
}

// early prints statements that collect the early sets of an action in a list.
func (t *translator) early(action, name string) []statement {
	var all []statement
	for i, s := range t.Packages.Sets {
		key := fmt.Sprintf("packages.sets.%d", i)
		if s.Action == action && t.isEarly(s) {
			all = append(all, t.entry(key, s.filter, false, func() string {
				return name + " += " + list(t.strs(key+".packages", s.Packages, ""))
			})...)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return append([]statement{{text: name + " = []"}}, all...)
}

func (t *translator) lxcConfig() []statement {
	var all []statement
	for i, item := range t.Targets.LXC.Config {
		if t.All && !item.known() { // a flaw, which is told by itself
			continue
		}
		key := fmt.Sprintf("targets.lxc.config.%d", i)
		all = append(all, t.entry(key, item.filter, false, func() string {
			fields := []string{`"type": ` + t.str(key+".type", item.Type, ""), `"content": ` + t.render(key+".content", item.Content, "lxc config", "img")}
			if item.Before != 0 || t.find(key+".before") != nil {
				fields = append(fields, `"before": `+t.number(key+".before", uint64(item.Before)))
			}
			if item.After != 0 || t.find(key+".after") != nil {
				fields = append(fields, `"after": `+t.number(key+".after", uint64(item.After)))
			}
			return "config.append(" + bracketed("{", fields, "}") + ")"
		})...)
	}
	return all
}
