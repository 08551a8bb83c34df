package streams_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
	"imagebuilder/streams/inventory"
)

// TestPruneRetention holds which versions stay listed.
func TestPruneRetention(t *testing.T) {
	tests := []struct {
		summary  string
		versions []string
		edit     func(o *streams.PruneOptions)
		stays    []string
	}{{
		summary:  "ten by default",
		versions: []string{"20240101", "20240102", "20240103", "20240104", "20240105", "20240106", "20240107", "20240108", "20240109", "20240110", "20240111"},
		stays:    []string{"20240102", "20240103", "20240104", "20240105", "20240106", "20240107", "20240108", "20240109", "20240110", "20240111"},
	}, {
		summary: "so many", versions: []string{v1, v2, v3, v4}, edit: retain(2),
		stays: []string{v3, v4},
	}, {
		summary: "so old, by their names", versions: []string{v1, v2, v3, v4},
		edit:  func(o *streams.PruneOptions) { o.Retain.Days = 7 },
		stays: []string{v3, v4},
	}, {
		summary: "the last one stays however old it is", versions: []string{v1, v2, v3, v4},
		edit:  func(o *streams.PruneOptions) { o.Retain.Days = 1 },
		stays: []string{v4},
	}, {
		summary: "unless none need stay", versions: []string{v1, v2},
		edit: func(o *streams.PruneOptions) { o.Retain.Days, o.Retain.AllowEmpty = 1, true },
	}, {
		summary: "a name without a date is as old as its metadata", versions: []string{"a", "b"},
		edit:  func(o *streams.PruneOptions) { o.Retain.Days = 10 },
		stays: []string{"a", "b"},
	}, {
		summary: "byte order, as clients have it", versions: []string{"20240101-9", "20240101-10"}, edit: retain(1),
		stays: []string{"20240101-9"},
	}, {
		summary: "or natural order", versions: []string{"20240101-9", "20240101-10"},
		edit:  func(o *streams.PruneOptions) { o.Retain.Builds, o.NaturalOrder = 1, true },
		stays: []string{"20240101-10"},
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f := newFixture(t, versions(ubuntu, test.versions...)...)
			f.build(noDeltas)
			sum := f.prune(func(o *streams.PruneOptions) {
				if test.edit != nil {
					test.edit(o)
				}
				atOnce(o)
			})
			if got := f.listed(); !slices.Equal(got, test.stays) {
				t.Errorf("listed: %v", got)
			}
			for _, name := range test.versions {
				if f.exists(dir(name)) != slices.Contains(test.stays, name) {
					t.Errorf("the files of %s", name)
				}
			}
			if sum.Removed != len(test.versions)-len(test.stays) {
				t.Errorf("%+v", sum)
			}
			f.verify()
			if sum := f.build(noDeltas); len(sum.Published) > 0 {
				t.Errorf("build after prune: %+v", sum)
			}
		})
	}
}

// TestPruneGrace holds that files stay for a while after they have left the catalog,
// and that a build meanwhile does not list them again.
func TestPruneGrace(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2, v3)...)
	f.build()
	sum := f.prune(retain(1))
	if !slices.Equal(f.listed(), []string{v3}) || sum.Dropped != 2 || sum.Removed != 0 || sum.Waiting != 3 {
		t.Fatalf("%v %+v", f.listed(), sum)
	}
	f.verify()
	f.now = f.now.Add(time.Hour)
	if sum := f.build(); len(sum.Published) > 0 || !slices.Equal(f.listed(), []string{v3}) {
		t.Fatalf("build: %v %+v", f.listed(), sum)
	}
	if sum := f.prune(retain(1)); sum.Removed != 0 || !f.exists(dir(v1)) {
		t.Errorf("too early: %+v", sum)
	}
	f.now = f.now.Add(time.Hour)
	sum = f.prune(retain(1))
	if sum.Removed != 2 || sum.Deltas != 1 || sum.Waiting != 0 || f.exists(dir(v1)) || f.exists(dir(v3)+"rootfs."+v2+".vcdiff") {
		t.Errorf("%+v\n%s", sum, &f.log)
	}
	f.verify()
}

// TestPruneClock holds that a clock which jumps removes nothing early.
func TestPruneClock(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	f.build(noDeltas)
	f.prune(retain(1))
	f.now = f.now.Add(-1000 * time.Hour)
	f.prune(retain(1))
	f.now = f.now.Add(time.Hour)
	if sum := f.prune(retain(1)); sum.Removed > 0 {
		t.Errorf("one hour later: %+v", sum)
	}
	f.now = f.now.Add(time.Hour)
	if sum := f.prune(retain(1)); sum.Removed != 1 {
		t.Errorf("two hours later: %+v", sum)
	}
}

// TestPruneStateLost holds that nothing is removed early when it is not known since
// when it waits.
func TestPruneStateLost(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	f.build(noDeltas)
	f.prune(retain(1))
	f.remove("streams/.state")
	f.now = f.now.Add(3 * time.Hour)
	f.build(noDeltas)
	if !slices.Equal(f.listed(), []string{v1, v2}) {
		t.Errorf("listed: %v", f.listed())
	}
	if sum := f.prune(retain(1)); sum.Removed > 0 || !f.exists(dir(v1)) {
		t.Errorf("%+v", sum)
	}
}

// TestPruneVanished holds that what is gone from the disk leaves the catalog, and that
// an emptied tree does not.
func TestPruneVanished(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2, v3, v4)...)
	f.build(noDeltas)
	f.remove(dir(v2))
	if sum := f.prune(); sum.Vanished != 1 || !f.said("Dropping stale product version", v2) || !slices.Equal(f.listed(), []string{v1, v3, v4}) {
		t.Errorf("%v %+v", f.listed(), sum)
	}
	f.verify()
	f.remove("images/ubuntu")
	if _, err := f.tryPrune(); err == nil || !strings.Contains(err.Error(), "refusing to drop 3 of the 3 versions") {
		t.Fatalf("got %v", err)
	}
	if len(f.listed()) != 3 {
		t.Error("the catalog has changed")
	}
	if sum := f.prune(func(o *streams.PruneOptions) { o.Force = true }); sum.Vanished != 3 {
		t.Errorf("%+v", sum)
	}
	if len(f.products("images")) != 0 || !strings.Contains(f.read("streams/v1/index.json"), `"products":[]`) {
		t.Error("the product is still there")
	}
}

// TestPruneDangling holds what is removed although no catalog knew it, and what is not.
func TestPruneDangling(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	f.build(noDeltas)
	f.make(versions(ubuntu, "."+v3, "."+v4)...)
	f.make(imagetree.Sample{Product: ubuntu, Version: "20240105_0000", Files: []string{"rootfs.squashfs"}})
	f.make(versions("old/x/amd64/y", v1)...)
	f.make(versions("young/x/amd64/y", v1)...)
	for _, name := range []string{dir("." + v3), dir("." + v4), dir("20240105_0000"), "images/old", "images/young"} {
		f.age(name, 7*time.Hour)
	}
	f.write(dir("."+v4)+"disk.qcow2", "still growing") // its directory stays as old as it is
	f.age(dir("."+v4)+"lxd.tar.xz", 7*time.Hour)
	f.write("images/young/x/amd64/y/"+v1+"/deep/file", "new")
	f.write("outside/file", "x")
	f.age("outside", 100*time.Hour)
	sum := f.prune(func(o *streams.PruneOptions) { o.Dangling = true })
	for name, there := range map[string]bool{
		dir(v1): true, dir("." + v3): false, dir("." + v4): true, dir("20240105_0000"): false,
		"images/old/x/amd64/y": false, "images/young/x/amd64/y/" + v1: true, "outside/file": true,
	} {
		if f.exists(name) != there {
			t.Errorf("%s: %v", name, f.exists(name))
		}
	}
	if sum.Dangling != 3 || !f.said("Pruned dangling resource", "images/old/x/amd64/y") {
		t.Errorf("%+v\n%s", sum, &f.log)
	}
}

// TestPruneDanglingSafety holds that a catalog which lost most of itself does not take
// the tree with it.
func TestPruneDanglingSafety(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1)...)
	dangling := func(o *streams.PruneOptions) { o.Dangling = true }
	if err := os.MkdirAll(f.path("empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	f.build(noDeltas, func(o *streams.BuildOptions) { o.Streams = []string{"images", "empty"} })
	f.make(versions(ubuntu, v2, v3, v4, "20240105_0000")...)
	f.make(imagetree.Sample{Stream: "empty", Product: ubuntu, Version: v1})
	f.age("images", 100*time.Hour)
	f.age("empty", 100*time.Hour)
	if _, err := f.tryPrune(dangling); err == nil || !strings.Contains(err.Error(), "refusing to remove 4 of the 5 versions") {
		t.Errorf("got %v", err)
	}
	f.prune(dangling, func(o *streams.PruneOptions) { o.Streams = []string{"empty"} })
	if !f.exists("empty/"+ubuntu+"/"+v1) || !f.said("Skipping removal of dangling resources, because product catalog is empty", "") {
		t.Errorf("an empty catalog:\n%s", &f.log)
	}
	if sum := f.prune(dangling, func(o *streams.PruneOptions) { o.Force = true }); sum.Dangling != 4 {
		t.Errorf("%+v", sum)
	}
}

// TestPruneEmpty holds which empty directories go.
func TestPruneEmpty(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1)...)
	f.build(noDeltas)
	mkdir := func(name string, ago time.Duration) {
		if err := os.MkdirAll(f.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
		f.age("images/"+strings.Split(name, "/")[1], ago)
	}
	mkdir("images/old/dir/tree/here/deep", 3*time.Hour)
	mkdir("images/new/dir", time.Hour)
	mkdir("images/upload/x/amd64/y/."+v2, 3*time.Hour)
	mkdir("images/killed/x/amd64/y/."+v2+".removed/half", 3*time.Hour)
	f.write("elsewhere/x", "")
	f.remove("elsewhere/x")
	f.age("elsewhere", 3*time.Hour)
	sum := f.prune()
	for name, there := range map[string]bool{
		"images/old/dir/tree/here": false, "images/old": false, "images/new/dir": true, "images/upload/x/amd64/y/." + v2: true,
		"images/killed/x/amd64/y/." + v2 + ".removed": false, "elsewhere": true,
	} {
		if f.exists(name) != there {
			t.Errorf("%s: %v", name, f.exists(name))
		}
	}
	if sum.Empty == 0 || !f.said("Removed empty directory", "images/old/dir/tree/here") {
		t.Errorf("%+v\n%s", sum, &f.log)
	}
	f.remove("images/ubuntu")
	f.prune(atOnce, func(o *streams.PruneOptions) { o.Force = true })
	if !f.exists("images") {
		t.Error("the stream itself is gone")
	}
	f.build(noDeltas)
}

// TestPruneRemove holds that images can be taken out by their fingerprints.
func TestPruneRemove(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2, v3)...)
	f.build(noDeltas)
	print := f.products("images")[ubuntuID].Versions[v2].Items["lxd.tar.xz"].CombinedDisk
	remove := func(prefix string) func(o *streams.PruneOptions) {
		return func(o *streams.PruneOptions) { o.Remove = []string{prefix} }
	}
	for _, prefix := range []string{"", "nothing"} {
		if _, err := f.tryPrune(remove(prefix)); err == nil || !strings.Contains(err.Error(), "not one") {
			t.Errorf("%q: %v", prefix, err)
		}
	}
	if sum := f.prune(remove(print[:12])); sum.Dropped != 1 || !slices.Equal(f.listed(), []string{v1, v3}) {
		t.Errorf("%v %+v", f.listed(), sum)
	}
	f.build(noDeltas)
	if !slices.Equal(f.listed(), []string{v1, v3}) {
		t.Errorf("after a build: %v", f.listed())
	}
	f.verify()
}

// TestPruneRemoveOnly holds that nothing goes but what is named, unless more is asked
// for, and that what goes anyway may be named.
func TestPruneRemoveOnly(t *testing.T) {
	tests := []struct {
		summary string
		remove  string // the version
		edit    func(o *streams.PruneOptions)
		stays   []string
	}{
		{"nothing else", v4, nil, []string{v1, v2, v3, "20240105", "20240106", "20240107", "20240108", "20240109", "20240110", "20240111", "20240112", "20240113"}},
		{"with a number to keep", "20240113", retain(2), []string{"20240112"}},
		{"with days to keep", "20240113", func(o *streams.PruneOptions) { o.Retain.Days = 2 }, []string{"20240108", "20240109", "20240110", "20240111", "20240112"}},
		{"one that is too old as well", v1, retain(1), []string{"20240113"}},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f := newFixture(t, versions(ubuntu, v1, v2, v3, v4, "20240105", "20240106", "20240107", "20240108", "20240109", "20240110", "20240111", "20240112", "20240113")...)
			f.build(noDeltas)
			print := f.products("images")[ubuntuID].Versions[test.remove].Items["lxd.tar.xz"].CombinedDisk
			f.prune(func(o *streams.PruneOptions) {
				o.Remove = []string{print}
				if test.edit != nil {
					test.edit(o)
				}
			})
			if got := f.listed(); !slices.Equal(got, test.stays) {
				t.Errorf("listed: %v", got)
			}
		})
	}
}

// TestPruneStreams holds that a prune of one stream leaves the others alone.
func TestPruneStreams(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	f.make(imagetree.Sample{Stream: "daily", Product: ubuntu, Version: v3}, imagetree.Sample{Stream: "daily", Product: ubuntu, Version: v4})
	f.build(noDeltas, func(o *streams.BuildOptions) { o.Streams = []string{"images", "daily"} })
	daily := func(o *streams.PruneOptions) { o.Streams = []string{"daily"} }
	f.prune(retain(1), daily)
	f.prune(retain(2))
	f.now = f.now.Add(3 * time.Hour)
	f.prune(retain(1))
	if f.exists(dir(v1)) != true || !f.exists("daily/"+ubuntu+"/"+v3) {
		t.Error("files of the other stream are gone, or too early")
	}
	f.prune(retain(1), daily)
	if f.exists("daily/" + ubuntu + "/" + v3) {
		t.Error("files are still there")
	}
	if !strings.Contains(f.read("streams/v1/index.json"), `"daily"`) || !strings.Contains(f.read("streams/v1/index.json"), `"images"`) {
		t.Errorf("index: %s", f.read("streams/v1/index.json"))
	}
	f.verify()
}

// TestPruneDryRun holds that nothing is written.
func TestPruneDryRun(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	f.build(noDeltas)
	f.make(versions(ubuntu, "."+v3)...)
	f.age(dir("."+v3), 7*time.Hour)
	before := f.published()
	f.now = time.Now()
	sum := f.prune(retain(1), func(o *streams.PruneOptions) { o.DryRun, o.Dangling = true, true })
	if sum.Dropped != 1 || !f.said("Would leave the catalog", v1) || !f.said("Would be removed as dangling", "."+v3) {
		t.Errorf("%+v\n%s", sum, &f.log)
	}
	if after := f.published(); after["images.json"] != before["images.json"] || !f.exists(dir(v1)) || !f.exists(dir("."+v3)) {
		t.Error("something has changed")
	}
}

func TestPruneErrors(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1)...)
	f.build(noDeltas)
	for _, retain := range []inventory.Retention{{Builds: -1}, {Days: -1}} {
		if _, err := f.tryPrune(func(o *streams.PruneOptions) { o.Retain = retain }); err == nil || !strings.Contains(err.Error(), "negative") {
			t.Errorf("%+v: %v", retain, err)
		}
	}
}

// TestBuildAfterKilledPrune holds that a build completes what a prune has decided that
// was killed before it could publish it, however many versions that are.
func TestBuildAfterKilledPrune(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2, v3, "20240104_0000", "20240105_0000")...)
	f.build()
	killed := errors.New("killed")
	_, err := f.tryPrune(retain(1), func(o *streams.PruneOptions) {
		o.Site = streams.WithFault(o.Site, func(op, name string) error {
			if op == "rename" && name == "streams/v1" {
				return killed
			}
			return nil
		})
	})
	if !errors.Is(err, killed) || len(f.listed()) != 5 {
		t.Fatalf("%v, listed: %v", err, f.listed())
	}
	if f.build(); len(f.listed()) != 1 {
		t.Errorf("listed: %v", f.listed())
	}
	f.verify()
}
