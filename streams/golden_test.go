package streams_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"imagebuilder/streams"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/page"
)

// An outcome is what one step of a golden case left behind.
type outcome struct {
	catalogs map[string]any      // path to JSON, masked
	tree     []string            // files and empty directories
	log      []string            // records the old tool knows
	sums     map[string][]string // version to its SHA256SUMS, hashes of deltas masked
}

// TestGolden replays what the old tool was seen to do and compares, in the mode that
// is made for it. Where the outcome differs on purpose, the table of differences says
// by which fault of the specification.
func TestGolden(t *testing.T) {
	kit := testkit(t)
	cases, err := filepath.Glob(filepath.Join(kit, "golden/streams/*/case.json"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		name := filepath.Base(filepath.Dir(file))
		t.Run(name, func(t *testing.T) {
			replay(t, kit, filepath.Dir(file))
		})
	}
}

// testkit returns the folder with the old tool's cases, which stands beside the
// repository on the machines that have it.
func testkit(t *testing.T) string {
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		kit := filepath.Join(filepath.Dir(dir), "shared", "testkit")
		if _, err := os.Stat(filepath.Join(kit, "golden/streams")); err == nil {
			return kit
		}
		dir = filepath.Dir(dir)
	}
	t.Skip("the old tool's golden cases are not here")
	return ""
}

type step struct {
	Make      []string
	Run       []string
	Mkdir     string
	Remove    string
	Write     []string
	Exit      int
	Result    string
	NoXdelta3 bool `json:"no_xdelta3"`
}

func replay(t *testing.T, kit, dir string) {
	var c struct{ Steps []step }
	data, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, s := range c.Steps {
		switch {
		case s.Make != nil:
			cmd := exec.Command(filepath.Join(kit, "make-stream-tree"), append(s.Make, root)...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		case s.Mkdir != "":
			err = os.MkdirAll(filepath.Join(root, s.Mkdir), 0o755)
		case s.Remove != "":
			err = os.RemoveAll(filepath.Join(root, s.Remove))
		case s.Write != nil:
			err = os.WriteFile(filepath.Join(root, s.Write[0]), []byte(s.Write[1]), 0o644)
		case s.Run != nil:
			compare(t, root, dir, s)
			comparePage(t, root, filepath.Join(dir, s.Result, "webpage-data.json"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func compare(t *testing.T, root, dir string, s step) {
	var log bytes.Buffer
	path := os.Getenv("PATH")
	if s.NoXdelta3 {
		t.Setenv("PATH", "/nowhere")
	}
	err := runOld(root, s, &log)
	t.Setenv("PATH", path)
	want := load(t, filepath.Join(dir, s.Result))
	exit := s.Exit
	for _, d := range differences {
		if d.run == filepath.Base(dir)+"/"+s.Result {
			d.edit(want)
			if d.succeeds {
				exit = 0
			}
		}
	}
	if (err != nil) != (exit != 0) {
		t.Errorf("%s: error %v, exit status %d wanted", s.Result, err, exit)
	}
	got := observe(t, root, log.String())
	show := func(v any) string { data, _ := json.MarshalIndent(v, "", " "); return string(data) }
	for name, c := range want.catalogs {
		if a, b := show(got.catalogs[name]), show(c); a != b {
			t.Errorf("%s: %s: got\n%s\nwant\n%s", s.Result, name, a, b)
		}
	}
	diff(t, s.Result+": tree", got.tree, want.tree)
	diff(t, s.Result+": log", got.log, want.log)
	for version, lines := range want.sums {
		diff(t, s.Result+": sums of "+version, got.sums[version], lines)
	}
}

// comparePage checks that the page says all that the old tool's said. How it does is
// another matter (fault 26).
func comparePage(t *testing.T, root, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		return // not a case about the page
	}
	var products []struct {
		Distribution, Release, Architecture, Variant string
		Aliases                                      []string
		Requirements                                 map[string]string
		Versions                                     []struct {
			Name, BuildDate, FingerprintContainer, FingerprintVM string
			Files                                                []struct{ Name, Path, Size string }
		}
	}
	if err := json.Unmarshal(data, &products); err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(filepath.Join(root, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, p := range products {
		want = append(want, "<strong>"+p.Distribution+"</strong> "+p.Release, ">"+p.Architecture+"<", ">"+p.Variant+"<")
		for _, alias := range p.Aliases {
			want = append(want, "<code>"+alias+"</code>")
		}
		for key, value := range p.Requirements {
			want = append(want, "<code>"+key+"="+value+"</code>")
		}
		for i, v := range p.Versions {
			want = append(want, ">"+v.Name+"<", ">"+v.FingerprintContainer+"<", ">"+v.FingerprintVM+"<")
			if i == 0 {
				want = append(want, ">"+strings.NewReplacer("(", "", ")", "").Replace(v.BuildDate)+"<")
			}
			for _, f := range v.Files {
				want = append(want, `href="`+strings.TrimPrefix(f.Path, "/")+`">`+f.Name+"<")
				if !strings.HasSuffix(f.Name, ".vcdiff") {
					want = append(want, ">"+f.Size+"<")
				}
			}
		}
	}
	for _, text := range want {
		if !strings.Contains(string(html), text) {
			t.Errorf("the page does not have %s", text)
		}
	}
}

func diff(t *testing.T, what string, got, want []string) {
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("%s: unexpected %s", what, line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%s: missing %s", what, line)
		}
	}
}

// runOld carries out a command line of the old tool.
func runOld(root string, s step, log io.Writer) error {
	logger := slog.New(slog.NewTextHandler(log, nil))
	tree := streams.Site{Root: root, Log: logger}
	retention := inventory.Retention{}
	dangling := false
	for i := 2; i < len(s.Run); i++ {
		value := func() string { i++; return s.Run[i] }
		switch s.Run[i] {
		case "-d", "--image-dir":
			tree.Streams = append(tree.Streams, strings.Split(value(), ",")...)
		case "--stream-version":
			tree.StreamVersion = value()
		case "--retain-builds":
			fmt.Sscan(value(), &retention.Builds)
		case "--retain-days":
			fmt.Sscan(value(), &retention.Days)
		case "--dangling":
			dangling = true
		}
	}
	if s.Run[0] == "build" {
		opts := streams.BuildOptions{
			Site: tree, Upstream: true, Deltas: streams.DeltaOptions{Disks: inventory.DiskDeltasAlways},
		}
		if slices.Contains(s.Run, "--build-webpage") {
			opts.Page = new(page.Setup)
		}
		_, err := streams.Build(context.Background(), opts)
		if err != nil {
			logger.Error(err.Error())
		}
		return err
	}
	_, err := streams.Prune(context.Background(), streams.PruneOptions{
		Site: tree, Retain: retention, Dangling: dangling, Grace: streams.AtOnce,
	})
	if err != nil {
		logger.Error(err.Error())
	}
	return err
}

// oldMessages are those of the old tool. Others are new and of no concern here.
var oldMessages = regexp.MustCompile(`msg="(` + strings.Join([]string{
	"New version added to the product catalog", "Delta generated successfully", "Failed to get version", "Checksum mismatch",
	"Failed to read base delta file", "Failed creating delta file", "Failed to get existing delta item",
	"Failed to update checksums file", "Dropping stale product version from catalog", "Pruned old product version",
	"Failed to prune old product version", "Pruned dangling resource", "Failed to prune dangling resource",
	"Skipping removal of dangling resources, because product catalog is empty", "Removed empty directory",
	"lstat .*", "Building index.html .*", "stream .* is given twice",
}, "|") + `)"`)

var timeKey = regexp.MustCompile(`(?m)^time=\S+ `)

func observe(t *testing.T, root, log string) *outcome {
	o := &outcome{catalogs: map[string]any{}, sums: map[string][]string{}}
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, name)
		if err != nil || rel == "." {
			return err
		}
		if e.IsDir() {
			if e.Name() == ".state" {
				return fs.SkipDir
			}
			if list, _ := os.ReadDir(name); len(list) == 0 {
				o.tree = append(o.tree, rel+"/")
			}
			return nil
		}
		o.tree = append(o.tree, rel)
		switch {
		case strings.HasPrefix(rel, "streams/") && strings.HasSuffix(rel, ".json"):
			o.catalogs[rel] = mask(t, name)
			unpacked(t, name)
		case e.Name() == "SHA256SUMS":
			o.sums[filepath.Base(filepath.Dir(name))] = lines(t, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	o.log = oldLog(strings.ReplaceAll(timeKey.ReplaceAllString(log, ""), root, "<root>"))
	return o
}

func oldLog(text string) []string {
	var records []string
	for line := range strings.Lines(text) {
		if oldMessages.MatchString(line) {
			records = append(records, maskError.ReplaceAllString(strings.TrimSpace(line), "error=X"))
		}
	}
	return records
}

// maskError matches an error, whose text is the library's.
var maskError = regexp.MustCompile(`error=[^<].*`)

// unpacked checks that the compressed form of a file is that of it.
func unpacked(t *testing.T, name string) {
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name + ".gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(zip); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s.gz is not %s (%v)", name, name, err)
	}
}

func load(t *testing.T, dir string) *outcome {
	o := &outcome{catalogs: map[string]any{}, sums: map[string][]string{}}
	names, _ := filepath.Glob(filepath.Join(dir, "streams/*/*.json"))
	for _, name := range names {
		rel, _ := filepath.Rel(dir, name)
		o.catalogs[rel] = mask(t, name)
	}
	o.tree = lines(t, filepath.Join(dir, "tree.txt"))
	o.log = oldLog(strings.Join(lines(t, filepath.Join(dir, "log.txt")), "\n"))
	names, _ = filepath.Glob(filepath.Join(dir, "sums/*"))
	for _, name := range names {
		o.sums[filepath.Base(name)] = lines(t, name)
	}
	return o
}

func lines(t *testing.T, name string) []string {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := deltaSum.ReplaceAllString(strings.TrimSpace(string(data)), "X  $1")
	return strings.Split(text, "\n")
}

// deltaSum matches the hash of a delta in a SHA256SUMS file.
var deltaSum = regexp.MustCompile(`(?m)^[0-9a-f]{64}  (.*\.vcdiff)$`)

// mask reads a JSON file and takes out what depends on the clock and on the
// version of xdelta3. That the keys are in the right order shows elsewhere.
func mask(t *testing.T, name string) any {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	maskValue(v)
	return v
}

func maskValue(v any) {
	m, ok := v.(map[string]any)
	if !ok {
		return
	}
	delete(m, "updated")
	if ftype, _ := m["ftype"].(string); strings.HasSuffix(ftype, ".vcdiff") {
		delete(m, "size")
		delete(m, "sha256")
	}
	for _, value := range m {
		maskValue(value)
	}
}
