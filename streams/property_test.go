package streams_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
)

// versionKinds are what a random version can be, and whether it can be listed.
var versionKinds = map[string]struct {
	image imagetree.Sample
	good  bool
}{
	"plain":      {imagetree.Sample{}, true},
	"sums":       {imagetree.Sample{Sums: true}, true},
	"container":  {imagetree.Sample{Files: []string{"lxd.tar.xz", "rootfs.squashfs"}}, true},
	"vm":         {imagetree.Sample{Files: []string{"lxd.tar.xz", "disk.qcow2"}}, true},
	"incus":      {imagetree.Sample{Files: []string{"incus.tar.xz", "rootfs.squashfs"}}, true},
	"tarball":    {imagetree.Sample{Files: []string{"lxd.tar.xz", "root.tar.xz"}}, true},
	"config":     {imagetree.Sample{Extra: map[string]string{"image.yaml": config}}, true},
	"no meta":    {imagetree.Sample{Files: []string{"rootfs.squashfs"}}, false},
	"no rootfs":  {imagetree.Sample{Files: []string{"lxd.tar.xz"}}, false},
	"bad sums":   {imagetree.Sample{Extra: map[string]string{"SHA256SUMS": strings.Repeat("0", 64) + "  lxd.tar.xz\n"}}, false},
	"bad config": {imagetree.Sample{Extra: map[string]string{"image.yaml": "simplestream: 7"}}, false},
}

var kindNames = slices.Sorted(maps.Keys(versionKinds))

// A world is a random tree and what should be true of it.
type world struct {
	*fixture
	rt    *rapid.T
	good  map[string]map[string]bool // product to versions that can be listed
	count int
	opts  func(o *streams.BuildOptions)
}

var products = []string{ubuntu, "alpine/current/arm64/cloud", "a.b/c+d/riscv64/x"}

// add makes another version, sometimes older than others.
func (w *world) add() {
	product := rapid.SampledFrom(products).Draw(w.rt, "product")
	kind := rapid.SampledFrom(kindNames).Draw(w.rt, "kind")
	day := rapid.IntRange(1, 28).Draw(w.rt, "day")
	w.count++
	name := fmt.Sprintf("202401%02d_%04d", day, w.count)
	k := versionKinds[kind]
	k.image.Product, k.image.Version = product, name
	w.make(k.image)
	if k.good {
		if w.good[product] == nil {
			w.good[product] = make(map[string]bool)
		}
		w.good[product][name] = true
	}
}

func (w *world) drop() {
	product := rapid.SampledFrom(products).Draw(w.rt, "product")
	names := slices.Sorted(maps.Keys(w.good[product]))
	if len(names) == 0 {
		return
	}
	name := rapid.SampledFrom(names).Draw(w.rt, "version")
	delete(w.good[product], name)
	w.remove("images/" + product + "/" + name)
}

func (w *world) rebuild() {
	w.build(w.opts)
	w.check("build")
	before := w.published()
	w.now = w.now.Add(time.Minute)
	if sum := w.build(w.opts); len(sum.Published) > 0 {
		w.rt.Fatalf("a second build published %v", sum.Published)
	}
	w.same("a second build", before)
}

// pruneTo prunes and checks that exactly the newest versions stay.
func (w *world) pruneTo(builds int, grace time.Duration) {
	w.build(w.opts)
	w.prune(retain(builds), func(o *streams.PruneOptions) { o.Grace = grace })
	for product, versions := range w.good {
		names := slices.Sorted(maps.Keys(versions))
		for _, name := range names[:max(0, len(names)-builds)] {
			delete(versions, name)
		}
		for name := range versions {
			if !w.exists("images/" + product + "/" + name + "/") {
				w.rt.Fatalf("the files of %s %s are gone", product, name)
			}
		}
	}
	w.check("prune")
	before := w.published()
	w.now = w.now.Add(time.Minute)
	w.build(w.opts)
	w.same("a build after a prune", before)
}

// same fails the test if clients see anything else than before.
func (w *world) same(what string, before map[string]string) {
	if after := w.published(); !maps.Equal(before, after) {
		w.rt.Fatalf("%s changed what clients see:\n%s\n%s", what, before["images.json"], after["images.json"])
	}
}

// check fails the test if anything but the good versions is listed, or anything that
// is listed is wrong.
func (w *world) check(what string) {
	listed := w.products("images")
	for _, product := range products {
		want := slices.Sorted(maps.Keys(w.good[product]))
		var got []string
		if p := listed[strings.ReplaceAll(product, "/", ":")]; p != nil {
			got = p.VersionNames()
		}
		if !slices.Equal(got, want) {
			w.rt.Fatalf("after %s %s has %v, not %v", what, product, got, want)
		}
	}
	if faults := w.faults(); len(faults) > 0 {
		w.rt.Fatalf("after %s: %v", what, faults)
	}
}

// TestProperties holds for random trees and random work on them that a build is
// idempotent, that a prune removes nothing it must keep, that a build after a prune
// changes nothing, and that all that is published is right at any time.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		deltas := rapid.IntRange(0, 3).Draw(rt, "deltas") == 0 // they take the most time
		w := &world{
			fixture: &fixture{T: t, root: filepath.Join(dir, "root"), now: time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC)},
			rt:      rt,
			good:    make(map[string]map[string]bool),
			opts: func(o *streams.BuildOptions) {
				o.Deltas.Off = !deltas
				o.Force = true // what a random user does is meant
			},
		}
		if err := os.MkdirAll(w.path("images"), 0o755); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 6).Draw(rt, "versions") {
			w.add()
		}
		w.rebuild()
		for range rapid.IntRange(1, 5).Draw(rt, "steps") {
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0, 1:
				w.add()
			case 2:
				w.drop()
			case 3:
				w.rebuild()
			case 4:
				grace := rapid.SampledFrom([]time.Duration{streams.AtOnce, time.Hour}).Draw(rt, "grace")
				w.pruneTo(rapid.IntRange(1, 3).Draw(rt, "builds"), grace)
				w.now = w.now.Add(time.Duration(rapid.IntRange(0, 2).Draw(rt, "hours")) * time.Hour)
			}
		}
		w.rebuild()
		before := w.published()
		w.remove("streams/.state/images.cache")
		w.build(w.opts)
		w.same("a build without its memory", before)
	})
}
