package compat

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bazelbuild/buildtools/build"

	"imagebuilder/runtime"
)

var update = flag.Bool("update", false, "write the golden files anew")

// ours are the definitions of this project, shared are real ones that it does not have.
const (
	ours   = "../testdata/definitions"
	shared = "../../shared/definitions"
)

func definitions(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(f string) bool { return filepath.Base(f) == "example-scheme.yaml" })
}

func loadFile(t *testing.T, file string, overrides ...Override) *Document {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := readDefinition(context.Background(), f, filepath.Base(file), "x86_64", overrides)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// golden compares a text with that of a file, or writes it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what comes out (go test -update writes it):\n%s", file, got)
	}
}

// Recipes are what a person would keep, formatted as formatters for the language do it.
func TestConvert(t *testing.T) {
	for _, file := range definitions(t, ours) {
		text := loadFile(t, file).translate(Mode{}).Text
		golden(t, strings.TrimSuffix(file, ".yaml")+".star", text)
	}
	for _, file := range append(definitions(t, ours), definitions(t, shared)...) {
		for _, mode := range []Mode{{}, {Pack: true}} {
			text := loadFile(t, file).translate(mode).Text
			if formatted := format(t, text); formatted != text {
				t.Errorf("%s: not formatted:\n%s", file, difference(text, formatted))
			}
		}
	}
}

func format(t *testing.T, text string) string {
	t.Helper()
	file, err := build.ParseDefault("x.star", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return string(build.Format(file))
}

func difference(a, b string) string {
	left, right := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(left), len(right)) {
		if left[i] != right[i] {
			return fmt.Sprintf("line %d:\n%s\n%s", i+1, left[i], right[i])
		}
	}
	return "one is longer"
}

// A choice is what is built of a definition.
type choice struct{ release, variant, architecture, target string }

func (c choice) overrides() []Override {
	return []Override{
		{"image.release", c.release}, {"image.variant", c.variant}, {"image.architecture", c.architecture}, {"image.serial", "1"},
	}
}

// options are those that every recipe has.
func (c choice) options() runtime.Given {
	set := runtime.Given{"target": {c.target}}
	for _, o := range c.overrides() {
		set.Set(o.Key, o.Value)
	}
	return set
}

// otherRelease is one that no definition knows, of a form that all sources take.
const otherRelease = "9.99"

// choices are all that filters of a definition tell apart.
func choices(d *Document) []choice {
	var all []choice
	releases, variants := []string{d.Image.Release, otherRelease}, []string{"default", "other"}
	d.eachFilter(func(_ string, f filter) {
		releases, variants = append(releases, f.Releases...), append(variants, f.Variants...)
	})
	for _, release := range distinct(releases) {
		for _, variant := range distinct(variants) {
			for _, architecture := range []string{"x86_64", "aarch64"} {
				for _, target := range []string{"dir", "lxc", "lxd", "vm"} {
					all = append(all, choice{release, variant, architecture, target})
				}
			}
		}
	}
	return all
}

func distinct(list []string) []string {
	list = slices.DeleteFunc(list, func(s string) bool { return s == "" })
	slices.Sort(list)
	return slices.Compact(list)
}

// The recipe of a definition does, with the same options, what the definition does, for
// every image that it tells apart. What is done of real definitions is remembered by
// digests, so that a change of a plan is seen.
func TestPlans(t *testing.T) {
	files := append(definitions(t, ours), definitions(t, shared)...)
	if len(definitions(t, shared)) == 0 {
		t.Logf("%s is not there: only the definitions of %s are planned", shared, ours)
	}
	var digests strings.Builder
	for _, file := range files {
		converted := loadFile(t, file).translate(Mode{}).Text
		for _, c := range choices(loadFile(t, file)) {
			plan := samePlans(t, file, converted, c)
			sum := sha256.Sum256([]byte(plan))
			fmt.Fprintln(&digests, filepath.Base(file), c.release, c.variant, c.architecture, c.target, hex.EncodeToString(sum[:8]))
			if filepath.Dir(file) == ours && c.variant == "default" && c.architecture == "x86_64" && c.release != otherRelease {
				golden(t, fmt.Sprintf("%s/plans/%s-%s-%s", ours, strings.TrimSuffix(filepath.Base(file), ".yaml"), c.release, c.target), plan)
			}
		}
	}
	if len(definitions(t, shared)) > 0 {
		golden(t, ours+"/plans/digests", digests.String())
	}
}

// samePlans plans the definition and its recipe and returns the plan of both.
func samePlans(t *testing.T, file, converted string, c choice) string {
	t.Helper()
	recipe := loadFile(t, file, c.overrides()...).translate(Mode{})
	direct, refused := planRecipe(recipe.Text, recipe.Place, runtime.Given{"target": {c.target}})
	kept, err := planRecipe(converted, nil, c.options())
	if refused != nil && err != nil && cause(refused) == cause(err) && strings.Contains(err.Error(), "there is nothing for the architecture") {
		return "refused\n" // no definition says which architectures its distribution is for
	}
	if err = errors.Join(refused, err); err != nil {
		t.Fatalf("%s: %v: %v", file, c, err)
	}
	want, got := strings.Join(steps(t, direct), "\n")+"\n", strings.Join(steps(t, kept), "\n")+"\n"
	if got != want {
		t.Fatalf("%s: %v: definition and recipe differ:\n%s", file, c, difference(want, got))
	}
	return want
}

// cause is an error without the places in a definition or a recipe.
func cause(err error) string {
	var e *runtime.Error
	if errors.As(err, &e) {
		return e.Err.Error()
	}
	return err.Error()
}

func TestExampleWithTwoManagers(t *testing.T) {
	data, err := os.ReadFile(shared + "/example-scheme.yaml")
	if err != nil {
		t.Skip("needs ../shared")
	}
	_, err = readDefinition(context.Background(), bytes.NewReader(data), "example-scheme.yaml", "x86_64", nil)
	if err == nil || !strings.Contains(err.Error(), "cannot have both packages.manager and packages.custom_manager set") {
		t.Errorf("got %v", err)
	}
}

// A source is told what its function can be told, and nothing else.
func TestSourceArguments(t *testing.T) {
	const all = "url: 'https://x.org', variant: v, suite: s, same_as: a, components: [c], keys: [k], keyserver: ks"
	for downloader, want := range map[string][]string{
		"rootfs-http":      {`onto = exported(img)`, `keys = ["k"]`},
		"alpinelinux-http": {"same_as = same_as", `keys = ["k"]`, `keyserver = "ks"`, "skip_verification ="},
		"apertis-http":     {"variant = source_variant"},
		"gentoo-http":      {"variant = source_variant", `keys = ["k"]`},
		"ubuntu-http":      {`keys = ["k"]`, `keyserver = "ks"`},
		"voidlinux-http":   {"variant = source_variant"},
		"debootstrap":      {"suite = suite", "variant = source_variant", "same_as = same_as", `components = ["c"]`, `keys = ["k"]`, `keyserver = "ks"`, "skip_verification ="},
	} {
		doc := mustLoad(t, "image: {distribution: x, release: 1}\nsource: {downloader: "+downloader+", "+all+"}\npackages: {manager: apk}\n")
		text := doc.Convert(Mode{})
		_, call, _ := strings.Cut(text, "    root = ")
		call, _, _ = strings.Cut(call, "root.manager")
		for _, arg := range want {
			if !strings.Contains(call, arg) {
				t.Errorf("%s: no %s in %s", downloader, arg, call)
			}
		}
		for _, name := range []string{"onto", "suite", "variant", "same_as", "components", "keys", "keyserver"} {
			given := strings.Contains(call, name+" = ")
			if known := slices.Contains(doc.takes, name); given != known {
				t.Errorf("%s: %s is given: %v, is taken: %v", downloader, name, given, known)
			}
		}
	}
}

// Packages that rpmbootstrap installs are named by templates, components of an archive are not.
func TestComponents(t *testing.T) {
	for downloader, want := range map[string]string{
		"rpmbootstrap": `components = [render("{{ image.distribution }}-release", img), "dnf"]`,
		"debootstrap":  `components = ["{{ image.distribution }}-release", "dnf"]`,
	} {
		doc := mustLoad(t, "image: {distribution: x, release: 1}\npackages: {manager: dnf}\n"+
			"source: {downloader: "+downloader+", url: 'https://x.org', components: ['{{ image.distribution }}-release', dnf]}\n")
		if text := strings.Join(strings.Fields(doc.Convert(Mode{})), " "); !strings.Contains(text, want) {
			t.Errorf("%s: no %s in %s", downloader, want, text)
		}
	}
}

// Most definitions leave the release to those who build: nothing is wrong with that.
func TestValid(t *testing.T) {
	files := definitions(t, shared)
	if len(files) == 0 {
		t.Skip("needs ../shared")
	}
	for _, file := range files {
		if err := loadFile(t, file).CheckAll(context.Background(), runtime.Config{Machine: "x86_64"}); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
