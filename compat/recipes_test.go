package compat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/build"
	"imagebuilder/recipes"
	"imagebuilder/runtime"
)

// Of the recipes that come with the tool: each does what the definition of its distribution
// does, and takes all that its options say.

// planned are the digests of what recipes do, by their options.
const plannedRecipes = "../testdata/recipes/plans"

// withoutDefinition are recipes of what no definition is for, or none that is at hand.
var withoutDefinition = strings.Fields(`
	alt amazonlinux apertis centos devuan funtoo kali mint openeuler oracle plamo pld springdale
	both_formats from_image from_registry image_server matrix nginx windows worker`)

// needed are options without which a recipe has nothing to work on.
var needed = map[string]runtime.Given{
	"from_image":   {"image": {"https://example.org/rootfs.squashfs"}},
	"image_server": {"tree": {"srv"}, "add": {"out"}},
	"windows":      {"iso": {"Win11.iso"}},
}

// targets of definitions, by the types of recipes. The type both is made of two of them.
var targets = map[string]string{"container": "lxd", "vm": "vm", "lxc": "lxc"}

// misnamed are variants that a definition names where it means another, so that what is for them
// is for none.
var misnamed = []string{"desktop"}

// A definition cannot say everything by the options of the image: the source has a variant of
// its own, for one. Whoever builds says the rest by overrides, which are these.
var besides = map[string]func(c choice) []Override{
	"archlinux": func(c choice) []Override {
		if c.architecture == "x86_64" {
			return nil
		}
		return []Override{{"source.url", "http://os.archlinuxarm.org"}}
	},
	"gentoo": func(c choice) []Override {
		if c.variant == "systemd" {
			return []Override{{"source.variant", "systemd"}}
		}
		return []Override{{"source.variant", "openrc"}}
	},
	"openwrt": func(c choice) []Override {
		if c.release == "23.05" || c.release == "24.10" { // which the definition has a note of
			return []Override{{"packages.manager", "opkg"}}
		}
		return nil
	},
	"ubuntu": func(c choice) []Override {
		if c.architecture == "x86_64" {
			return nil
		}
		return []Override{{"source.url", "http://ports.ubuntu.com/ubuntu-ports"}}
	},
	"voidlinux": func(c choice) []Override {
		if c.variant == "default" {
			return nil
		}
		return []Override{{"source.variant", c.variant}}
	},
}

// loadRecipe loads a recipe that comes with the tool.
func loadRecipe(name string, options runtime.Given) (*runtime.Recipe, error) {
	return runtime.Load(context.Background(), name, runtime.Config{Options: options, Now: time.Unix(1700000000, 0).UTC(), Machine: "x86_64"})
}

// optionsOf returns the options of a recipe by their names.
func optionsOf(t *testing.T, name string) map[string]runtime.Option {
	t.Helper()
	recipe, err := loadRecipe(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]runtime.Option)
	for _, o := range recipe.Options() {
		all[o.Name] = o
	}
	return all
}

// valuesOf are the values that an option may have, or its default where it may have any; that
// of no option is what images have that say nothing.
func valuesOf(o runtime.Option) []string {
	switch {
	case o.Default == nil:
		return []string{"default"}
	case o.Values == nil:
		return []string{o.DefaultText()}
	}
	return o.Values
}

// comparable are the images that a recipe and a definition are compared for: the target is the
// type that the recipe has.
func comparable(options map[string]runtime.Option) []choice {
	var all []choice
	for _, release := range valuesOf(options["release"]) {
		for _, variant := range valuesOf(options["variant"]) {
			for _, architecture := range []string{"x86_64", "aarch64"} {
				for _, kind := range options["type"].Values {
					if slices.Contains(options["architecture"].Values, architecture) && targets[kind] != "" {
						all = append(all, choice{release, variant, architecture, kind})
					}
				}
			}
		}
	}
	return all
}

// ofRecipe returns the plan of a recipe, on a machine that has all programs.
func ofRecipe(t *testing.T, name string, c choice) (plan string, err error) {
	t.Helper()
	given := runtime.Given{"release": {c.release}, "architecture": {c.architecture}, "type": {c.target}}
	if _, ok := optionsOf(t, name)["variant"]; ok {
		given.Set("variant", c.variant)
	}
	recipe, err := loadRecipe(name, given)
	if err != nil {
		return "", err
	}
	planner := &build.Planner{Has: func(string) bool { return true }}
	err = recipe.PlanOn(planner)
	return comparison(t, planner), err
}

// ofDefinition returns the plan of a definition.
func ofDefinition(t *testing.T, name, file string, c choice) (plan string, err error) {
	t.Helper()
	overrides := []Override{{"image.release", c.release}, {"image.variant", c.variant}, {"image.architecture", c.architecture}}
	if more := besides[name]; more != nil {
		overrides = append(overrides, more(c)...)
	}
	recipe := loadFile(t, file, overrides...).translate(Mode{})
	planner, err := planRecipe(recipe.Text, nil, runtime.Given{"target": {targets[c.target]}})
	if planner == nil {
		return "", err
	}
	return comparison(t, planner), err
}

// comparison prints all that counts of a plan: its steps in their order, with their words,
// targets and arguments. What does not count is the place in the text that asks for a step and
// the function of the library that it calls for that, and where Debian's keys come from: its
// definition has them, the recipe takes the package of this machine. Nor does it count that a
// definition has the same key twice, once with its subkeys.
func comparison(t *testing.T, p *build.Planner) string {
	t.Helper()
	for i := range p.Steps {
		p.Steps[i].Label = ""
	}
	text := strings.Join(steps(t, p), "\n") + "\n"
	text = strings.ReplaceAll(text, `{"file":"debian-archive-keyring.gpg"}`, `{"file":"keyring.gpg"}`)
	const openwrt = `"54CC74307A2C6DC9CE618269CD84BCED626471F1"`
	return strings.ReplaceAll(text, openwrt+","+openwrt, openwrt)
}

// knowsAll fails if a definition tells a release or a variant apart that a recipe does not have.
func knowsAll(t *testing.T, d *Document, options map[string]runtime.Option) {
	t.Helper()
	d.eachFilter(func(key string, f filter) {
		for name, values := range map[string][]string{"release": f.Releases, "variant": f.Variants} {
			for _, v := range values {
				if known := options[name].Values; !slices.Contains(known, v) && !slices.Contains(misnamed, v) {
					t.Errorf("%s is for %s %s; the recipe has %s", key, name, v, strings.Join(known, ", "))
				}
			}
		}
	})
}

// refused tells whether a recipe says that there is no such image. A definition cannot, and
// makes one without a boot loader.
func refused(err error) bool {
	return err != nil && strings.Contains(err.Error(), "there is no virtual machine for")
}

// For every release, variant, architecture and type that a recipe has, its plan is that of the
// definition. What they are is remembered by digests, so that a change is seen where there are
// no definitions to compare with.
func TestRecipesAreAsDefinitions(t *testing.T) {
	for _, name := range recipes.Names() {
		if slices.Contains(withoutDefinition, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := shared + "/" + name + ".yaml"
			if _, err := os.Stat(file); err != nil {
				t.Logf("%s is not there: the plans are compared with remembered digests alone", file)
				file = ""
			}
			if file != "" {
				knowsAll(t, loadFile(t, file), optionsOf(t, name))
			}
			var digests strings.Builder
			for _, c := range comparable(optionsOf(t, name)) {
				plan, err := ofRecipe(t, name, c)
				if refused(err) {
					fmt.Fprintln(&digests, c.release, c.variant, c.architecture, c.target, "refused")
					continue
				}
				if err != nil {
					t.Fatalf("%v: %v", c, err)
				}
				if file != "" {
					want, err := ofDefinition(t, name, file, c)
					if err != nil {
						t.Fatalf("%v: the definition: %v", c, err)
					}
					if plan != want {
						t.Fatalf("%v: definition and recipe differ:\n%s", c, difference(want, plan))
					}
				}
				sum := sha256.Sum256([]byte(plan))
				fmt.Fprintln(&digests, c.release, c.variant, c.architecture, c.target, hex.EncodeToString(sum[:8]))
			}
			golden(t, plannedRecipes+"/"+name, digests.String())
		})
	}
}

// aliases are names of architectures that recipes take besides those of the kernel.
var aliases = []string{"amd64", "arm64", "armel", "armhf", "i386", "ppc64el", "loong64"}

// combinations calls a function with all combinations of the values that options may have;
// of those without such values, and of the architectures' further names, with the default.
func combinations(options []runtime.Option, given runtime.Given, f func(runtime.Given)) {
	if len(options) == 0 {
		f(given)
		return
	}
	o, rest := options[0], options[1:]
	if o.Values == nil {
		combinations(rest, given, f)
		return
	}
	for _, v := range o.Values {
		if slices.Contains(aliases, v) {
			continue
		}
		given.Set(o.Name, v)
		combinations(rest, given, f)
	}
}

// A recipe can be planned with every combination of the values that it says its options may
// have, or says itself what there is not. With each value something can be planned.
func TestRecipesTakeTheirValues(t *testing.T) {
	for _, name := range recipes.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recipe, err := loadRecipe(name, nil)
			if err != nil {
				t.Fatal(err)
			}
			planned := make(map[string]bool)
			given := maps.Clone(needed[name])
			if given == nil {
				given = make(runtime.Given)
			}
			combinations(recipe.Options(), given, func(given runtime.Given) {
				r, err := loadRecipe(name, given)
				if err == nil {
					planner := &build.Planner{Has: func(string) bool { return true }}
					err = r.PlanOn(planner)
				}
				if err != nil && !refused(err) {
					t.Fatalf("%v: %v", given, err)
				}
				for o := range given {
					planned[o+"="+given.Get(o)] = planned[o+"="+given.Get(o)] || err == nil
				}
			})
			for value, ok := range planned {
				if !ok {
					t.Errorf("nothing can be planned with %s", value)
				}
			}
			text, err := recipes.FS.ReadFile(name + ".star")
			if err != nil {
				t.Fatal(err)
			}
			if formatted := format(t, string(text)); formatted != string(text) {
				t.Errorf("not formatted: %s", difference(string(text), formatted))
			}
		})
	}
}

// usual is the image that a recipe makes if it is told nothing but the architecture.
func usual(t *testing.T, name, architecture string) choice {
	t.Helper()
	options := optionsOf(t, name)
	return choice{options["release"].DefaultText(), valuesOf(options["variant"])[0], architecture, "container"}
}

// An architecture can be given by Debian's name, which says the same.
func TestRecipesTakeDebiansNames(t *testing.T) {
	for _, name := range []string{"debian", "fedora", "gentoo"} {
		want, err := ofRecipe(t, name, usual(t, name, "aarch64"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := ofRecipe(t, name, usual(t, name, "arm64"))
		if err != nil || got != want {
			t.Errorf("%s: %v: arm64 is not aarch64: %s", name, err, difference(want, got))
		}
	}
}

// The type both makes the two images of one base, each as if it were made alone.
func TestRecipesMakeBothOfOneBase(t *testing.T) {
	for _, name := range recipes.Names() {
		if !slices.Contains(optionsOf(t, name)["type"].Values, "both") {
			continue
		}
		c := usual(t, name, "x86_64")
		plans := make(map[string][]string)
		for _, kind := range []string{"both", "container", "vm"} {
			c.target = kind
			plan, err := ofRecipe(t, name, c)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			plans[kind] = strings.Split(strings.TrimSuffix(plan, "\n"), "\n")
		}
		container, vm, both := plans["container"], plans["vm"], plans["both"]
		shared := len(container) + len(vm) - len(both)
		if shared < 1 || !slices.Equal(both[:len(container)], container) || !slices.Equal(both[len(container):], vm[shared:]) {
			t.Errorf("%s: both images are %d steps, alone they are %d and %d", name, len(both), len(container), len(vm))
		}
	}
}
