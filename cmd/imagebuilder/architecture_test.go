package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers are the packages from the lowest to the highest: each may import only what
// stands in a line above its own.
var layers = [][]string{
	{
		"builtins/bytesize", "builtins/digest", "builtins/dirfd", "builtins/host", "builtins/listing", "builtins/magic",
		"builtins/printable", "builtins/problems", "builtins/signing", "builtins/timespan", "builtins/version", "builtins/yamlmap", "recipes",
		"stdlib", "streams/catalog", "streams/whole", "builtins/xattr",
	},
	{"builtins/lock", "builtins/options", "builtins/packages", "builtins/provenance", "builtins/tree", "builtins/xz", "streams/page", "streams/site"},
	{"builtins/pkgproxy", "builtins/sandbox", "builtins/sbom", "builtins/squashfs", "streams/imagetree"},
	{"builtins/treetask"},
	{"builtins/layer"},
	{"builtins/disk", "builtins/fetch", "builtins/lxd", "builtins/pack", "builtins/registry", "builtins/template", "builtins/unpack",
		"builtins/windows", "streams/inventory"},
	{"builtins/boot", "builtins/library"},
	{"builtins/build", "streams"},
	{"streams/serve", "streams/words"},
	{"builtins"},
	{"runtime"},
	{"runtime/matrix"},
	{"compat"},
	{"cmd/imagebuilder"},
}

func rank(pkg string) int {
	return slices.IndexFunc(layers, func(line []string) bool { return slices.Contains(line, pkg) })
}

func TestImportsPointDown(t *testing.T) {
	for pkg, imports := range allImports(t) {
		if rank(pkg) < 0 {
			t.Errorf("package %s has no place in the layers of this test", pkg)
		}
		for path, file := range imports {
			local, ok := strings.CutPrefix(path, "imagebuilder/")
			if ok && rank(local) >= rank(pkg) {
				t.Errorf("%s: %s must not import %s", file, pkg, local)
			}
		}
	}
}

// Only these packages may use these modules: the language, processes.
func TestImportsStayInTheirPackages(t *testing.T) {
	rules := map[string][]string{
		"go.starlark.net/": {"builtins", "runtime"},
		"os/exec":          {"builtins/host"},
	}
	for pkg, imports := range allImports(t) {
		for path, file := range imports {
			for prefix, allowed := range rules {
				if strings.HasPrefix(path, prefix) && !slices.Contains(allowed, pkg) {
					t.Errorf("%s: %s is for %v only", file, path, allowed)
				}
			}
		}
	}
}

// allImports returns for each package of the module what its files, tests left out,
// import, and in which file.
func allImports(t *testing.T) map[string]map[string]string {
	t.Helper()
	all := make(map[string]map[string]string)
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg, err := filepath.Rel("../..", filepath.Dir(name))
		if err != nil {
			return err
		}
		if all[pkg] == nil {
			all[pkg] = make(map[string]string)
		}
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			all[pkg][path] = name
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What an ordinary user builds is what root builds, by the same code: only few packages ask
// whether they are confined.
func TestFewAskWhetherTheyAreConfined(t *testing.T) {
	allowed := []string{"builtins/host", "builtins/sandbox", "builtins/layer", "builtins/unpack", "cmd/imagebuilder/door.go"}
	for pkg := range allImports(t) {
		files, err := filepath.Glob(filepath.Join("../..", pkg, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimPrefix(file, "../../")
			if !strings.HasSuffix(file, "_test.go") && strings.Contains(string(text), "Confined()") && !slices.Contains(allowed, pkg) && !slices.Contains(allowed, name) {
				t.Errorf("%s asks for host.Confined, which is for %v only", name, allowed)
			}
		}
	}
}

// Every command and flag explains itself.
func TestHelpIsComplete(t *testing.T) {
	for _, cmd := range allCommands(newRootCommand()) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: its short help is missing or ends in a stop: %q", cmd.CommandPath(), cmd.Short)
		}
		for _, flag := range flagsOf(cmd) {
			if flag.Usage == "" {
				t.Errorf("%s --%s: no help", cmd.CommandPath(), flag.Name)
			}
		}
	}
}
