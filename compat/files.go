package compat

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// The section files, whose entries become calls of generators.

// files print the entries that generators act on.
func (t *translator) files() []statement {
	var all []statement
	for i, f := range t.Files {
		key := fmt.Sprintf("files.%d", i)
		entry := t.entry(key, f.filter, false, func() string {
			root := "root"
			if t.All { // entries for different images may clash in one
				root = "fork(root)"
			}
			return call("generate", append([]string{root, literal(t.generatorName(f.Generator))}, t.fileArgs(key, f)...)...)
		})
		if f.Pongo && !t.All { // what is wrong with it is nothing to images that have none
			for i := range entry {
				entry[i].condition = and(entry[i].condition, t.makes(f))
			}
		}
		all = append(all, entry...)
	}
	return all
}

// makes prints for which targets, among those that its filter lets through, a generator
// looks at the values of its entry; "": for all.
func (t *translator) makes(f fileEntry) string {
	switch {
	case f.Generator == "template":
		return `target in ["lxd", "vm"]`
	case slices.Contains([]string{"cloud-init", "hostname", "hosts"}, f.Generator) && len(f.Types) == 0 && !t.Pack:
		return `target != "dir"`
	}
	return ""
}

// generatorName is what the generator is called here. The agent is that of the server which
// the image is for, whichever the definition was written for.
func (t *translator) generatorName(name string) string {
	if name == "incus-agent" || name == "lxd-agent" {
		return t.server() + "-agent"
	}
	return name
}

// fileArgs print what a generator reads of its entry; the rest means nothing to it.
func (t *translator) fileArgs(key string, f fileEntry) []string {
	a := &fileArgs{t: t, key: key, f: f}
	switch f.Generator {
	case "dump":
		a.text("path", f.Path)
		a.optional("content", f.Content)
		a.ownership()
		if f.Templated || t.find(key+".templated") != nil {
			a.add("templated", t.boolean(key+".templated", f.Templated))
		}
	case "copy":
		a.text("source", f.Source)
		a.optional("path", f.Path)
		a.ownership()
	case "remove":
		a.text("path", f.Path)
	case "template":
		a.text("path", f.Path)
		a.text("content", f.Content)
		a.add("name", t.str(key+".name", f.Name, ""))
		a.template()
	case "hostname", "hosts":
		a.text("path", f.Path)
		a.template()
	case "cloud-init":
		a.add("name", t.str(key+".name", f.Name, ""))
		a.optional("path", f.Path)
		a.optional("content", f.Content)
		a.properties()
	case "fstab":
		if key, fs, ok := t.diskSetting("filesystem"); ok {
			a.add("filesystem", t.str(key, fs, ""))
		}
	}
	return a.args
}

// fileArgs collects the arguments of one entry.
type fileArgs struct {
	t    *translator
	key  string
	f    fileEntry
	args []string
}

func (a *fileArgs) add(name, value string) { a.args = append(a.args, named(name, value)) }

// text adds a value that is rendered if the entry says so.
func (a *fileArgs) text(name, value string) {
	key, words := a.key+"."+name, a.f.Path
	if words == "" || name != "content" {
		words = a.f.Generator + " " + a.f.Name
	}
	if !utf8.ValidString(value) {
		a.add(name, bytesLiteral(value))
		return
	}
	if !a.f.Pongo {
		a.add(name, a.t.str(key, value, words))
		return
	}
	if a.f.Generator == "template" && name == "content" {
		sizeKey, size, _ := a.t.diskSetting("size")
		fsKey, fs, _ := a.t.diskSetting("filesystem")
		settings := `{"VM": {"Size": ` + a.t.str(sizeKey, size, "") + `, "Filesystem": ` + a.t.str(fsKey, fs, "") + `}}`
		// The server renders it again.
		a.add(name, a.t.render(key, value, words, "root.image", named("keep_verbatim", "True"), named(a.t.server(), settings)))
		return
	}
	a.add(name, a.t.render(key, value, words, "root.image"))
}

func (a *fileArgs) optional(name, value string) {
	if value != "" || a.t.find(a.key+"."+name) != nil {
		a.text(name, value)
	}
}

func (a *fileArgs) ownership() {
	for _, arg := range []struct{ name, key, value string }{{"mode", "mode", a.f.Mode}, {"owner", "uid", a.f.UID}, {"group", "gid", a.f.GID}} {
		key := a.key + "." + arg.key
		if arg.value != "" || a.t.find(key) != nil {
			a.add(arg.name, a.t.str(key, arg.value, ""))
		}
	}
}

func (a *fileArgs) template() {
	if when := a.f.Template.When; len(when) > 0 {
		a.add("when", list(a.t.strs(a.key+".template.when", when, "")))
	}
	a.properties()
}

func (a *fileArgs) properties() {
	if p := a.f.Template.Properties; len(p) > 0 {
		a.add("properties", a.t.dict(a.key+".template.properties", p, "property"))
	}
}
