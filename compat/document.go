package compat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/disk"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/problems"
	"imagebuilder/runtime"
)

// A definition from its text to the point where it can be translated: defaults, rules, and
// the facts that only the standard library knows.

// A Document is a definition that was read from a file, with where everything stands.
type Document struct {
	definition
	source *source
	set    []Override

	replaces   bool     // the source removes what is in the directory of build-dir
	takesEarly bool     // it installs the early packages
	takes      []string // the names of its parameters
	prepares   bool     // the package manager does something before all else

	flaws []flaw
}

// A flaw is something wrong that counts only in some kinds of image: in others the older
// tools never looked at it, so there it is just said.
type flaw struct {
	targets []string // kinds in which it counts; nil: it only has to be said
	certain bool     // no filter can leave it out
	err     error
}

// Load reads a definition, applies overrides, fills in defaults and checks all that can
// be checked without knowing what is built of it. All errors are found, and say where.
func readDefinition(ctx context.Context, r io.Reader, file, machine string, overrides []Override) (*Document, error) {
	node, source, err := parse(r, file)
	if err != nil {
		return nil, err
	}
	separate(node)
	for _, o := range overrides {
		if err := override(node, o); err != nil {
			return nil, &definitionError{File: file, Err: err}
		}
	}
	def, err := source.decode(node)
	if err != nil {
		return nil, err
	}
	doc := &Document{definition: *def, source: source, set: overrides}
	doc.normalize(machine)
	doc.relocate(overrides)
	return doc, doc.check(ctx)
}

// relocate makes a relative file URL one from the current directory: it is relative to
// the definition that says it.
func (d *Document) relocate(overrides []Override) {
	given := slices.ContainsFunc(overrides, func(o Override) bool { return o.Key == "source.url" })
	_, name, _ := strings.Cut(d.Source.URL, ":")
	if !given && fetch.IsFile(d.Source.URL) && !strings.HasPrefix(name, "/") {
		dir := url.URL{Path: filepath.Dir(d.source.file) + "/"}
		d.Source.URL = "file:" + dir.EscapedPath() + name
	}
}

// Name is the file that the definition was read from.
func (d *Document) Name() string { return d.source.file }

// SourcesDir returns the directory below dir that downloads for what is built belong in.
func (d *Document) SourcesDir(ctx context.Context, dir string) (string, error) {
	i := &d.Image
	mapped, ok := d.Mappings.Architectures[i.Architecture]
	if !ok || d.Mappings.ArchitectureMap != "" {
		facts, err := runtime.CallLibrary(ctx, "definition.star", "mapped", map[string]string{
			"architecture": i.Architecture, "map": d.Mappings.ArchitectureMap,
		})
		if err != nil {
			return "", err
		}
		mapped = facts["architecture"]
	}
	name := strings.ToLower(strings.Join([]string{i.Distribution, i.Release, mapped}, "-"))
	name = strings.NewReplacer(" ", "", "/", "_").Replace(name)
	return filepath.Join(dir, name), nil
}

// defaultExpiry is when images expire of which nothing is said.
const defaultExpiry = "30d"

// normalize fills in defaults and trims names, whose blanks older tools did not mind.
func (d *Document) normalize(machine string) {
	for _, name := range []*string{&d.Source.Downloader, &d.Packages.Manager, &d.Mappings.ArchitectureMap} {
		*name = strings.TrimSpace(*name)
	}
	for i := range d.Files {
		f := &d.Files[i]
		f.Generator = strings.TrimSpace(f.Generator)
		d.owners(fmt.Sprintf("files.%d", i), f)
	}
	if d.Image.Architecture == "" {
		d.Image.Architecture = machine
	}
	if d.Image.Variant == "" {
		d.Image.Variant = "default"
	}
	if d.Image.Expiry == "" {
		d.Image.Expiry = defaultExpiry
	}
}

// owners makes what the older tools understood of a file's mode and owners what it meant.
func (d *Document) owners(key string, f *fileEntry) {
	for _, id := range []*string{&f.UID, &f.GID} {
		if *id == "-1" { // which chown(2) takes for "leave it"
			*id = ""
		}
	}
	mode, err := strconv.ParseUint(f.Mode, 8, 32)
	if err == nil && mode > 0o7777 && mode&^0o7777 != 0o100000 {
		d.flaws = append(d.flaws, flaw{err: d.source.at(key+".mode", fmt.Errorf("of %s only the last twelve bits count", f.Mode))})
		f.Mode = fmt.Sprintf("%04o", mode&0o7777)
	}
}

var (
	generators = []string{"cloud-init", "copy", "dump", "fstab", "hostname", "hosts", "incus-agent", "lxd-agent", "remove", "template"}
	triggers   = []string{"post-files", "post-packages", "post-unpack", "post-update"}
)

// check applies the rules of the format. What the recipe itself checks, such as the
// arguments of generators, is left to it.
func (d *Document) check(ctx context.Context) error {
	c := &checker{source: d.source}
	c.that(strings.TrimSpace(d.Image.Distribution) != "", "image.distribution", "may not be empty")
	if _, err := build.ParseExpiry(d.Image.Expiry); err != nil {
		d.flaws = append(d.flaws, flaw{[]string{"lxc", "lxd", "vm"}, true, c.at("image.expiry", err)})
		d.Image.Expiry = defaultExpiry
	}
	c.facts(ctx, d)
	c.managers(&d.Packages)
	for i, f := range d.Files {
		c.oneOf(fmt.Sprintf("files.%d.generator", i), f.Generator, generators)
		c.that(utf8.ValidString(f.Content) || f.Generator == "dump" && !f.Pongo, fmt.Sprintf("files.%d.content", i),
			"it is not text: only what dump writes as it is can be other bytes")
	}
	for i, a := range d.Actions {
		c.oneOf(fmt.Sprintf("actions.%d.trigger", i), a.Trigger, triggers)
	}
	for i, s := range d.Packages.Sets {
		c.oneOf(fmt.Sprintf("packages.sets.%d.action", i), s.Action, []string{"install", "remove"})
	}
	for i, item := range d.Targets.LXC.Config {
		if !item.known() {
			d.flaws = append(d.flaws, flaw{[]string{"lxc"}, item.filter.empty(), c.among(fmt.Sprintf("targets.lxc.config.%d.type", i), item.Type, lxcTypes)})
		}
	}
	if d.Targets.Type != "" {
		c.oneOf("targets.type", d.Targets.Type, []string{"container", "vm"})
	}
	d.flaws = append(d.flaws, c.disk(d.Targets)...)
	c.filters(&d.definition)
	return problems.Join(c.errs...)
}

// said is what is said of a flaw that is no error.
func (f *flaw) said() string {
	if f.targets == nil {
		return f.err.Error()
	}
	return "not used here: " + f.err.Error()
}

// lxcTypes are the types of LXC configuration.
var lxcTypes = []string{"all", "system", "user"}

// known tells whether the type of the configuration is one that there is.
func (c *lxcConfig) known() bool { return slices.Contains(lxcTypes, c.Type) }

// empty tells whether the filter lets everything through.
func (f *filter) empty() bool {
	return len(f.Releases)+len(f.Architectures)+len(f.Variants)+len(f.Types) == 0
}

// fits returns what is wrong with the definition for one kind of image, and says what is
// wrong with it for others.
func (d *Document) fits(target string, log *slog.Logger) error {
	var errs []error
	for _, f := range d.flaws {
		if f.certain && slices.Contains(f.targets, target) {
			errs = append(errs, f.err)
		} else if log != nil {
			log.Warn(f.said())
		}
	}
	return problems.Join(errs...)
}

// A checker collects what is wrong.
type checker struct {
	*source
	errs []error
}

func (c *checker) ok(key string, err error) {
	if err != nil {
		c.errs = append(c.errs, c.at(key, err))
	}
}

func (c *checker) that(ok bool, key, message string) {
	if !ok {
		c.ok(key, errors.New(message))
	}
}

func (c *checker) oneOf(key, value string, known []string) {
	if !slices.Contains(known, value) {
		c.errs = append(c.errs, c.among(key, value, known))
	}
}

// among is the error of a value that is not one of those known.
func (s *source) among(key, value string, known []string) error {
	return s.at(key, fmt.Errorf("must be one of %s, not %q%s", strings.Join(known, ", "), value, didYouMean(value, known)))
}

// disk returns what is wrong with the disks of virtual machines, which only they have.
func (s *source) disk(t targetsSection) []flaw {
	var flaws []flaw
	for _, vm := range []struct {
		key string
		vmTarget
	}{{"targets.incus.vm", t.Incus.VM}, {"targets.lxd.vm", t.LXD.VM}} {
		if err := new(bytesize.Size).Set(vm.Size); vm.Size != "" && err != nil {
			flaws = append(flaws, flaw{[]string{"vm"}, true, s.at(vm.key+".size", err)})
		}
		if known := disk.FileSystems; vm.Filesystem != "" && !slices.Contains(known, vm.Filesystem) {
			flaws = append(flaws, flaw{[]string{"vm"}, true, s.among(vm.key+".filesystem", vm.Filesystem, known)})
		}
	}
	return flaws
}

// facts asks the standard library about names that only it knows.
func (c *checker) facts(ctx context.Context, d *Document) {
	facts, err := runtime.CallLibrary(ctx, "definition.star", "facts", map[string]string{
		"source.downloader":         d.Source.Downloader,
		"packages.manager":          d.Packages.Manager,
		"mappings.architecture_map": d.Mappings.ArchitectureMap,
		"image.architecture":        d.Image.Architecture,
	})
	if err != nil {
		c.errs = append(c.errs, err)
		return
	}
	_, d.replaces = facts["replaces"]
	_, d.takesEarly = facts["takes early"]
	_, d.prepares = facts["prepares"]
	d.takes = strings.Fields(facts["takes"])
	for _, key := range []string{"source.downloader", "packages.manager", "mappings.architecture_map", "image.architecture"} {
		if text, ok := facts[key]; ok {
			c.ok(key, errors.New(text))
		}
	}
}

func (c *checker) managers(p *packagesSection) {
	switch {
	case p.Manager != "" && p.CustomManager != nil:
		c.that(false, "packages", "cannot have both packages.manager and packages.custom_manager set")
	case p.Manager == "" && p.CustomManager == nil:
		c.that(false, "packages", "packages.manager or packages.custom_manager needs to be set")
	case p.CustomManager != nil:
		for _, operation := range p.CustomManager.operations() {
			c.that(operation.Cmd != "", "packages.custom_manager", "requires a command for "+operation.name)
		}
	}
}

// operation is a command of a custom manager with its name.
type operation struct {
	name string
	managerCommand
}

func (m *customManager) operations() []operation {
	return []operation{{"clean", m.Clean}, {"install", m.Install}, {"remove", m.Remove}, {"refresh", m.Refresh}, {"update", m.Update}}
}

// filters checks the types that entries are for.
func (c *checker) filters(d *definition) {
	d.eachFilter(func(key string, f filter) {
		for i, kind := range f.Types {
			c.oneOf(fmt.Sprintf("%s.types.%d", key, i), kind, []string{"container", "vm"})
		}
	})
}

// eachFilter calls do for all entries that have filters.
func (d *definition) eachFilter(do func(key string, f filter)) {
	for i, f := range d.Files {
		do(fmt.Sprintf("files.%d", i), f.filter)
	}
	for i, a := range d.Actions {
		do(fmt.Sprintf("actions.%d", i), a.filter)
	}
	for i, s := range d.Packages.Sets {
		do(fmt.Sprintf("packages.sets.%d", i), s.filter)
	}
	for i, r := range d.Packages.Repositories {
		do(fmt.Sprintf("packages.repositories.%d", i), r.filter)
	}
	for i, item := range d.Targets.LXC.Config {
		do(fmt.Sprintf("targets.lxc.config.%d", i), item.filter)
	}
	for i, v := range d.Environment.Variables {
		do(fmt.Sprintf("environment.variables.%d", i), v.filter)
	}
	for i, r := range d.Simplestream.Requirements {
		do(fmt.Sprintf("simplestream.requirements.%d", i), r.filter)
	}
}
