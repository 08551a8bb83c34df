package streams_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/page"
)

func TestMain(m *testing.M) {
	if root := os.Getenv("STREAMS_CRASH_ROOT"); root != "" {
		os.Exit(crashHelper(root, os.Getenv("STREAMS_CRASH_VERB")))
	}
	if root := os.Getenv("STREAMS_BENCH_ROOT"); root != "" {
		os.Exit(benchHelper(root, os.Getenv("STREAMS_BENCH_VERB")))
	}
	os.Exit(m.Run())
}

// crashHelper is the process that is killed.
func crashHelper(root, verb string) int {
	tree := streams.Site{Root: root}
	var err error
	switch verb {
	case "build":
		_, err = streams.Build(context.Background(), streams.BuildOptions{Site: tree, Page: new(page.Setup)})
	case "prune":
		_, err = streams.Prune(context.Background(), streams.PruneOptions{
			Site: tree, Retain: inventory.Retention{Builds: 2}, Grace: streams.AtOnce, Dangling: true,
			Safety: streams.Safety{Force: true}, // builds that were killed leave much that is not listed
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// checkClient looks at the tree as a client does that knows nothing of this package:
// from the index to the catalogs to every file. It returns what is wrong.
func checkClient(root string) error {
	var index struct {
		Index map[string]struct{ Path string }
	}
	if err := readJSON(filepath.Join(root, "streams/v1/index.json"), &index); err != nil {
		return err
	}
	for _, entry := range index.Index {
		if err := checkCatalog(root, entry.Path); err != nil {
			return fmt.Errorf("%s: %w", entry.Path, err)
		}
	}
	return nil
}

type clientItem struct {
	Path, SHA256, FType string
	Size                int64
	DeltaBase           string `json:"delta_base"`
}

func checkCatalog(root, name string) error {
	var c struct {
		Products map[string]struct {
			Versions map[string]struct{ Items map[string]clientItem }
		}
	}
	if err := readJSON(filepath.Join(root, name), &c); err != nil {
		return err
	}
	for _, product := range c.Products {
		for _, version := range product.Versions {
			for _, item := range version.Items {
				data, err := os.ReadFile(filepath.Join(root, item.Path))
				if err != nil {
					return err
				}
				if fmt.Sprintf("%x", sha256.Sum256(data)) != item.SHA256 || int64(len(data)) != item.Size {
					return fmt.Errorf("%s is not what is listed", item.Path)
				}
				if _, ok := product.Versions[item.DeltaBase]; item.DeltaBase != "" && !ok {
					return fmt.Errorf("%s has no base", item.Path)
				}
			}
		}
	}
	return nil
}

func readJSON(name string, value any) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, value)
}

// checkGzip returns what is wrong with the compressed forms.
func checkGzip(root string) error {
	names, err := filepath.Glob(filepath.Join(root, "streams/v1/*.json"))
	for _, name := range names {
		want, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := os.Open(name + ".gz")
		if err != nil {
			return err
		}
		defer f.Close()
		zip, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		if got, err := io.ReadAll(zip); err != nil || !bytes.Equal(got, want) {
			return fmt.Errorf("%s.gz is of another content: %v", name, err)
		}
	}
	return err
}

// A scenario is a tree and what is done to it.
type scenario struct {
	summary string
	prepare func(f *fixture)
	run     func(f *fixture, tree streams.Site) error
}

func runBuild(f *fixture, tree streams.Site) error {
	_, err := streams.Build(context.Background(), streams.BuildOptions{Site: tree, Page: new(page.Setup)})
	return err
}

func runPrune(f *fixture, tree streams.Site) error {
	_, err := streams.Prune(context.Background(), streams.PruneOptions{
		Site: tree, Retain: inventory.Retention{Builds: 1}, Grace: streams.AtOnce, Dangling: true,
	})
	return err
}

var scenarios = []scenario{{
	summary: "first build",
	run:     runBuild,
}, {
	summary: "another build",
	prepare: func(f *fixture) {
		if err := runBuild(f, f.tree()); err != nil {
			f.Fatal(err)
		}
		f.make(imagetree.Sample{Product: ubuntu, Version: v3, Sums: true}, imagetree.Sample{Product: "alpine/current/amd64/default", Version: v1})
	},
	run: runBuild,
}, {
	summary: "prune",
	prepare: func(f *fixture) {
		f.make(imagetree.Sample{Product: ubuntu, Version: v3, Sums: true}, imagetree.Sample{Product: "alpine/current/amd64/default", Version: v1})
		if err := runBuild(f, f.tree()); err != nil {
			f.Fatal(err)
		}
		f.make(versions(ubuntu, "."+v4)...)
		f.age(dir("."+v4), 7*time.Hour)
	},
	run: runPrune,
}, {
	summary: "add",
	prepare: func(f *fixture) {
		if err := runBuild(f, f.tree()); err != nil {
			f.Fatal(err)
		}
	},
	run: func(f *fixture, tree streams.Site) error {
		source := built(f.T, map[string]string{"lxd.tar.xz": metaTar(metadataYAML + "# "), "rootfs.squashfs": imagetree.Squashfs("new")})
		_, err := streams.Add(context.Background(), streams.AddOptions{Site: tree, Files: []string{source}})
		return err
	},
}}

func (s scenario) fixture(t *testing.T) *fixture {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	if s.prepare != nil {
		s.prepare(f)
	}
	return f
}

var errInjected = errors.New("injected")

// An injection counts the changes to a tree and lets some fail.
type injection struct {
	mu    sync.Mutex
	count int
	fails func(n int, op, name string) error
}

func (x *injection) fault(op, name string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.count++
	return x.fails(x.count, op, name)
}

// TestFailEverywhere fails every write, sync, rename and other change once, and also
// every one from some point on, as when the power goes. Clients must never see
// anything but the old state or the new one, and the next run must come to the same
// end as one without failures.
func TestFailEverywhere(t *testing.T) {
	for _, s := range scenarios {
		for _, crash := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, crash %v", s.summary, crash), func(t *testing.T) {
				t.Parallel()
				reference := s.fixture(t)
				count := &injection{fails: func(int, string, string) error { return nil }}
				if err := s.run(reference, single(streams.WithFault(reference.tree(), count.fault))); err != nil {
					t.Fatal(err)
				}
				for i := 1; i <= count.count; i += stride() {
					s.failAt(t, i, crash, reference, nil)
				}
			})
		}
	}
}

// stride is the distance of the changes that are failed.
func stride() int {
	if testing.Short() {
		return 7
	}
	return 1
}

// single makes the order of changes the same every time.
func single(tree streams.Site) streams.Site {
	tree.Workers = 1
	return tree
}

// failAt fails the change of a number.
func (s scenario) failAt(t *testing.T, i int, crash bool, reference *fixture, also func(op, name string) error) {
	f := s.fixture(t)
	before := f.view()
	where := ""
	x := &injection{fails: func(n int, op, name string) error {
		if n == i || crash && n > i {
			if n == i {
				where = op + " " + name
			}
			return errInjected
		}
		if also != nil {
			return also(op, name)
		}
		return nil
	}}
	err := s.run(f, single(streams.WithFault(f.tree(), x.fault)))
	if err != nil && !errors.Is(err, errInjected) {
		t.Errorf("%d, %s: %v", i, where, err)
	}
	after := f.view()
	if crash && also == nil && !maps.Equal(after, before) && !maps.Equal(after, reference.view()) {
		t.Errorf("%d, %s: clients see neither the old nor the new state", i, where)
	}
	if len(after) > 0 {
		if err := checkClient(f.root); err != nil {
			t.Errorf("%d, %s: %v", i, where, err)
		}
		if also == nil {
			f.verify()
		}
	}
	if err := s.run(f, f.tree()); err != nil {
		t.Errorf("%d, %s: again: %v", i, where, err)
	}
	if !maps.Equal(f.view(), reference.view()) {
		t.Errorf("%d, %s: the next run comes to another end", i, where)
	}
	f.verify()
}

// view is what clients see of the catalogs.
func (f *fixture) view() map[string]string {
	if !f.exists("streams/v1") {
		return map[string]string{}
	}
	return f.published()
}

// TestFailOneByOne is TestFailEverywhere on a file system that cannot exchange
// directories: then compressed forms may be old for a moment, but what a client
// follows from the index is right at any time.
func TestFailOneByOne(t *testing.T) {
	noExchange := func(op, name string) error {
		if op == "link" || op == "rename" && name == "streams/v1" {
			return unix.EINVAL
		}
		return nil
	}
	for _, s := range scenarios[1:3] {
		t.Run(s.summary, func(t *testing.T) {
			t.Parallel()
			reference := s.fixture(t)
			count := &injection{fails: func(_ int, op, name string) error { return noExchange(op, name) }}
			if err := s.run(reference, single(streams.WithFault(reference.tree(), count.fault))); err != nil {
				t.Fatal(err)
			}
			for i := 1; i <= count.count; i += stride() {
				s.failAt(t, i, true, reference, noExchange)
			}
		})
	}
}

// TestFullDisk holds that a disk without room changes nothing that is published.
func TestFullDisk(t *testing.T) {
	s := scenarios[1]
	f := s.fixture(t)
	before := f.view()
	err := s.run(f, streams.WithFault(f.tree(), func(op, name string) error {
		if op == "write" {
			return unix.ENOSPC
		}
		return nil
	}))
	if !errors.Is(err, unix.ENOSPC) || !maps.Equal(before, f.view()) {
		t.Errorf("got %v", err)
	}
	entries, _ := os.ReadDir(f.path("streams"))
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".next") {
			t.Errorf("%s is left over", e.Name())
		}
	}
}
