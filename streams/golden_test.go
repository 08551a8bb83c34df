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
)

// A difference says in what a golden case's outcome differs from the old tool's on
// purpose, and by which fault of the specification.
type difference struct {
	fault string
	edit  func(want *outcome)
}

// An outcome is what one step of a golden case left behind.
type outcome struct {
	catalogs map[string]any // path to its JSON, masked
	tree     []string
	log      []string
}

func TestGolden(t *testing.T) {
	kit := testkit(t)
	cases, err := filepath.Glob(filepath.Join(kit, "golden/streams/*/case.json"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		name := filepath.Base(filepath.Dir(file))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
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
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func compare(t *testing.T, root, dir string, s step) {
	var log bytes.Buffer
	err := runOld(root, s, &log)
	if (err != nil) != (s.Exit != 0) {
		t.Errorf("%s: error %v, exit status %d wanted", s.Result, err, s.Exit)
	}
	got := observe(t, root, log.String())
	want := load(t, filepath.Join(dir, s.Result))
	for _, d := range differences[filepath.Base(dir)+"/"+s.Result] {
		d.edit(want)
	}
	show := func(v any) string { data, _ := json.MarshalIndent(v, "", " "); return string(data) }
	for name, c := range want.catalogs {
		if a, b := show(got.catalogs[name]), show(c); a != b {
			t.Errorf("%s: %s: got\n%s\nwant\n%s", s.Result, name, a, b)
		}
	}
	diff(t, s.Result+": tree", got.tree, want.tree)
	diff(t, s.Result+": log", got.log, want.log)
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
	tree := streams.Tree{Root: root, Log: logger}
	retention := streams.Retention{}
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
	_ = dangling
	if s.Run[0] == "build" {
		_, err := streams.Build(context.Background(), streams.BuildOptions{
			Tree: tree, Upstream: true, Deltas: streams.DeltaOptions{Disks: streams.DiskDeltasAlways},
		})
		if err != nil {
			logger.Error(err.Error())
		}
		return err
	}
	return nil
}

var timeKey = regexp.MustCompile(`(?m)^time=\S+ `)

func observe(t *testing.T, root, log string) *outcome {
	o := &outcome{catalogs: map[string]any{}}
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
		if strings.HasPrefix(rel, "streams/") && strings.HasSuffix(rel, ".json") {
			o.catalogs[rel] = mask(t, name)
			unpacked(t, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	log = strings.ReplaceAll(timeKey.ReplaceAllString(log, ""), root, "<root>")
	for line := range strings.Lines(log) {
		if !strings.Contains(line, `msg="Build finished"`) {
			o.log = append(o.log, strings.TrimSpace(line))
		}
	}
	return o
}

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
	o := &outcome{catalogs: map[string]any{}}
	names, _ := filepath.Glob(filepath.Join(dir, "streams/*/*.json"))
	for _, name := range names {
		rel, _ := filepath.Rel(dir, name)
		o.catalogs[rel] = mask(t, name)
	}
	o.tree = lines(t, filepath.Join(dir, "tree.txt"))
	o.log = lines(t, filepath.Join(dir, "log.txt"))
	return o
}

func lines(t *testing.T, name string) []string {
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

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

var differences = map[string][]difference{}
