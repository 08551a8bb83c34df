package compat

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/lxd"
	"imagebuilder/builtins/options"
)

// Puts a recipe together of its parts. What each part says is in a file of its own.

// A translation is the recipe that a definition means.
type translation struct {
	Text string

	source *source
	keys   []string // by line: where it comes from
}

// Place returns the file, the line and the key of the definition that a line of the
// recipe comes from, the first line being 1; nothing for one that stands in every recipe.
func (r *translation) Place(line int) (file string, at int, key string) {
	if line < 1 || line > len(r.keys) || r.keys[line-1] == "" {
		return "", 0, ""
	}
	key = r.keys[line-1]
	for k := key; k != ""; k = k[:max(0, strings.LastIndexByte(k, '.'))] {
		if at, ok := r.source.lines[k]; ok {
			return r.source.file, at, key
		}
	}
	return r.source.file, 0, key
}

// A Mode says what a recipe is translated for.
type Mode struct {
	// Server is what images are for that are not for LXC; "" is LXD.
	Server lxd.Server
	// Pack begins with a directory that build-dir has made, and does in it only what is
	// typed for the kind of image before the files, as the pack commands do.
	Pack bool
	// All takes every entry, whatever releases, architectures and variants it is for:
	// not to be run, but to find what is wrong with any of them.
	All bool
}

// server is the word for what images are for, in names.
func (m Mode) server() string { return cmp.Or(m.Server, lxd.LXD).Word() }

// translator turns a definition into the text of a recipe.
type translator struct {
	*Document
	*values
	Mode
	loads map[string]bool // "file name": what is loaded
	dicts map[string]bool // sections that templates need
	keys  *constants      // OpenPGP keys, which come last since they are long
}

// reserved returns the names that texts cannot have: those of what is loaded, and of the
// sections of a definition.
func reserved() map[string]bool {
	names := map[string]bool{"MANAGERS": true, "SOURCES": true, "IMAGE": true}
	for _, root := range roots {
		names[strings.ToUpper(root)] = true
	}
	return names
}

// Convert returns the text of the recipe that the definition means.
func (d *Document) Convert(mode Mode) string { return d.translate(mode).Text }

// translate returns the recipe that does what the definition says.
func (d *Document) translate(mode Mode) *translation {
	taken := reserved()
	t := &translator{
		Document: d,
		values:   &values{constants: newConstants(taken)},
		Mode:     mode,
		loads:    make(map[string]bool),
		dicts:    make(map[string]bool),
		keys:     newConstants(taken),
	}
	t.declareOptions()
	// What comes first in the text is known last.
	body := t.functions()
	contexts := t.contextStatements()
	options := t.optionStatements()
	all := new(code)
	all.add("", 0, docstring(d.Image.Distribution, filepath.Base(d.source.file)))
	for _, part := range []*code{t.loadStatements(), options, &t.constants.code, contexts, body, &t.keys.code} {
		all.section(part)
	}
	return &translation{Text: all.String(), source: d.source, keys: all.keys}
}

// standard are the values that users set, and so options of every recipe.
func (t *translator) declareOptions() {
	i, s := &t.Image, &t.Source
	t.declare("image.release", "release", literal(i.Release), "release of the distribution")
	t.declare("image.architecture", "architecture", t.architectureDefault(), "architecture of the image")
	t.declare("image.variant", "variant", literal(i.Variant), "variant of the image")
	t.declare("image.serial", "serial", literal(i.Serial), "serial of the image (default: the time)")
	if !t.Pack {
		t.declare("source.url", "url", literal(s.URL), "where to download from")
		for _, o := range []struct{ key, name, value string }{
			{"source.suite", "suite", s.Suite}, {"source.variant", "source_variant", s.Variant}, {"source.same_as", "same_as", s.SameAs},
		} {
			if o.value != "" || s.Downloader == "debootstrap" {
				t.declare(o.key, o.name, literal(o.value), "")
			}
		}
		if s.SkipVerification || s.Downloader != "rootfs-http" {
			t.declare("source.skip_verification", "skip_verification", t.boolean("", s.SkipVerification), "verify nothing")
		}
	}
	for _, o := range t.set {
		t.declareSet(o.Key)
	}
}

func (t *translator) architectureDefault() string {
	if _, ok := t.source.lines["image.architecture"]; !ok {
		return "machine"
	}
	return literal(t.Image.Architecture)
}

// declareSet makes a value that -o has set an option.
func (t *translator) declareSet(key string) {
	v := reflect.ValueOf(&t.definition).Elem()
	rest := strings.Split(key, ".")
	for len(rest) > 0 {
		switch v.Kind() {
		case reflect.Pointer:
			v = v.Elem()
		case reflect.Struct:
			v, rest = fieldsOf(v)[rest[0]], rest[1:]
		case reflect.Slice:
			var n int
			fmt.Sscan(rest[0], &n)
			v, rest = v.Index(n), rest[1:]
		case reflect.Map:
			v, rest = v.MapIndex(reflect.ValueOf(strings.Join(rest, "."))), nil
		}
	}
	names := map[string]string{
		"image.distribution": "distribution", "image.name": "name", "image.description": "description", "image.expiry": "expiry",
	}
	name := names[key]
	if name == "" {
		name = t.unused(strings.ToLower(constantName(key)))
	}
	t.declare(key, name, (&values{}).plain(v, ""), "")
}

// unused makes a name one that no option has.
func (t *translator) unused(name string) string {
	taken := func(v *variable) bool { return v.name == name }
	for base, i := name, 2; slices.ContainsFunc(t.vars, taken); i++ {
		name = fmt.Sprintf("%s_%d", base, i)
	}
	return name
}

func (t *translator) loadStatements() *code {
	c := new(code)
	byFile := make(map[string][]string)
	for load := range t.loads {
		file, name, _ := strings.Cut(load, " ")
		byFile[file] = append(byFile[file], literal(name))
	}
	for _, file := range slices.Sorted(maps.Keys(byFile)) {
		slices.Sort(byFile[file])
		c.add("", 0, fmt.Sprintf("load(%s, %s)", literal(file), strings.Join(byFile[file], ", ")))
	}
	return c
}

// load makes a name of the standard library known and returns it.
func (t *translator) load(file, name string) string {
	t.loads["@stdlib//"+file+" "+name] = true
	return name
}

func (t *translator) optionStatements() *code {
	c := new(code)
	arch := t.mapped() // before the options, which it may be the only one to use
	for _, v := range t.vars {
		c.add(v.key, 0, t.declaration(v))
	}
	kinds := `["lxc", "lxd", "vm"]`
	if !t.Pack {
		kinds = `["dir", "lxc", "lxd", "vm"]`
	}
	c.add("", 0, `target = option("target", "lxd", help = "what to make", values = `+kinds+`)`)
	variables := map[string]string{"type": "form"}
	for _, s := range build.ForLXD(options.InRecipe).Settings() {
		c.add("", 0, cmp.Or(variables[s.Name], s.Name)+" = "+optionOf(s))
	}
	if t.Pack {
		c.add("", 0, `source = option("source", ".", help = "directory with the root file system")`)
	} else {
		c.add("", 0, `with_post_files = option("with_post_files", False, help = "run post-files actions for target dir, too")`)
	}
	name, help := "import_into_"+t.server(), fmt.Sprintf("alias in %s to import the image with, or - for none", cmp.Or(t.Server, lxd.LXD))
	c.add("", 0, name+" = "+call("option", literal(name), literal(""), named("help", literal(help))))
	c.blank()
	c.add("mappings", 0, "arch = "+arch)
	return c
}

// optionOf prints the call that declares an option of packing.
func optionOf(s *options.Setting) string {
	args := []string{literal(s.Name), literal(s.Default()), named("help", literal(strings.ReplaceAll(s.Help, "`", "")))}
	if s.Values != nil {
		var values []string
		for _, v := range s.Values {
			values = append(values, literal(v))
		}
		args = append(args, named("values", list(values)))
	}
	return call("option", args...)
}

// declaration prints the statement that declares an option. One that the recipe does
// not read is accepted only as it was when the recipe was made.
func (t *translator) declaration(v *variable) string {
	args := []string{literal(v.key), v.value}
	if !v.used {
		return call("option", append(args, named("help", `"fixed when this recipe was made"`), named("values", list([]string{v.value})))...)
	}
	if v.help != "" {
		args = append(args, named("help", literal(v.help)))
	}
	return v.name + " = " + call("option", args...)
}

// mapped prints the distribution's own name of the architecture.
func (t *translator) mapped() string {
	architecture, _ := t.option("image.architecture")
	switch m := &t.Mappings; {
	case m.ArchitectureMap != "":
		return call(t.load("architectures.star", "map_architecture"), t.str("mappings.architecture_map", m.ArchitectureMap, ""), architecture)
	case len(m.Architectures) > 0:
		return t.dict("mappings.architectures", m.Architectures, "") + ".get(" + architecture + ", " + architecture + ")"
	}
	return architecture
}

// contextStatements print the sections that templates name.
func (t *translator) contextStatements() *code {
	c := new(code)
	for _, root := range roots {
		if !t.dicts[root] {
			continue
		}
		value := t.plain(fieldsOf(reflect.ValueOf(&t.definition).Elem())[root], root)
		if root == "targets" {
			value = bracketed("dict(", []string{value, `type = "vm" if target == "vm" else "container"`}, ")")
		}
		c.blank()
		c.add(root, 0, strings.ToUpper(root)+" = "+value)
	}
	return c
}
